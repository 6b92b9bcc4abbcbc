import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { makeFarm } from "../farm.mjs";
import { OPENED, PAGES } from "../pages.mjs";
import { here, signIn } from "../steps.mjs";

const { source } = createRequire(import.meta.url)("axe-core");
const violations = [];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export default async function play(stage) {
  const ids = await makeFarm();
  for (const theme of ["light", "dark"]) {
    const page = await stage.visitor({ theme });
    await page.goto("/");
    await here(page, "Sign in to pgw");
    await seen(stage, page, "login", theme);
    await signIn(page);
    for (const { name, path, en } of PAGES) {
      await page.goto(path);
      await here(page, en);
      await seen(stage, page, name, theme);
    }
    for (const { name, path, parts } of OPENED) {
      await page.goto(path(ids));
      await page.getByRole("dialog").waitFor();
      if (parts.length === 0) await seen(stage, page, name, theme);
      for (const part of parts) {
        await page.getByRole("dialog").getByRole("button", { name: part, exact: typeof part === "string" }).first().click();
        await seen(stage, page, `${name}-${String(part).replace(/[^a-z]+/gi, "").toLowerCase()}`, theme);
      }
    }
    await page.goto("/");
    await here(page, "Overview");
    await page.keyboard.type("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await seen(stage, page, "keys", theme);
  }
  assert.deepEqual([...new Set(violations)], []);
}

async function seen(stage, page, name, theme) {
  // What is asked for is there: charts, lists, small lines.
  await page.waitForLoadState("load");
  await page.getByText("…", { exact: true }).first().waitFor({ state: "detached" });
  await page.waitForTimeout(700);
  await page.evaluate(source);
  const found = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), RULES);
  const told = found.violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.slice(0, 5).map((node) => `${node.html.slice(0, 200)}  ${node.any.map((one) => one.message).join("; ")}`).join("\n  ")}`);
  await stage.picture(page, `${name}-${theme}`);
  violations.push(...told.map((text) => `${name}, ${theme}: ${text}`));
}
