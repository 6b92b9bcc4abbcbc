// docs/quick-start.md as a stranger follows it: what stands there in bold is what he finds and presses.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { PASSWORD, SEEN_BY, until, wish } from "../gateway.mjs";
import { shows } from "../steps.mjs";

const DOCUMENT = readFileSync(new URL("../../../../docs/quick-start.md", import.meta.url), "utf8");
const SECTIONS = DOCUMENT.split(/^## /m);
const IP = "10.64.0.11";
const PROXY = "203.0.113.22:1080";

/** The words in bold of a section, one after the other. */
function bold(title) {
  const section = SECTIONS.find((text) => text.startsWith(title));
  assert.ok(section, `${title} is not in the document`);
  return [...section.matchAll(/\*\*([^*]+)\*\*/g)].map(([, words]) => words);
}

export default async function play(stage) {
  await wish("upstream_plain microsocks");
  // The device was used before: the gateway has seen it.
  await wish("seen c1");
  const page = await stage.visitor();
  await inTheBrowser(page);
  await onTheDevice(page);
}

async function inTheBrowser(page) {
  const [create, proxies, imports, import1, ok, map, seen, paste, map1, applied, done, open] = bold("2. In the browser");
  const [url] = SECTIONS.join("").match(/socks5:\/\/[^`']+/) ?? [];
  const press = (name) => page.getByRole("button", { name, exact: true }).first().click();
  const visit = (name) => page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true }).click();

  await page.goto("/");
  await page.getByLabel("Name", { exact: true }).fill("admin");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password again").fill(PASSWORD);
  await press(create);

  await visit(proxies);
  await press(imports);
  await page.getByRole("dialog").getByLabel("Lines to import").fill(url);
  await press(import1);
  await shows(page, PROXY, ok);

  await visit(map);
  await page.getByRole("button", { name: paste, exact: true }).waitFor();
  // With how many there are behind its name.
  await page.getByRole("button", { name: new RegExp(`^${seen}`) }).click();
  await page.getByLabel(new RegExp(IP.replaceAll(".", "\\."))).check();
  await page.getByLabel(new RegExp(PROXY.replaceAll(".", "\\."))).check();
  await press(map1);
  await page.getByRole("heading", { name: applied }).waitFor();
  await press(done);
  await shows(page, IP, open);
  assert.equal(await wish("seen c1"), SEEN_BY.microsocks);
}

async function onTheDevice(page) {
  const [proxies, edit, enabled, save] = bold("3. On the device");
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: proxies, exact: true }).click();
  await page.getByRole("link", { name: PROXY, exact: true }).click();
  const sheet = page.getByRole("dialog", { name: PROXY });
  await sheet.getByRole("button", { name: edit, exact: true }).click();
  await sheet.getByLabel(enabled, { exact: true }).uncheck();
  await sheet.getByRole("button", { name: save, exact: true }).click();
  await until("the device has no internet", () => wish("seen c1").then(() => false, () => true));
  await sheet.getByLabel(enabled, { exact: true }).check();
  await sheet.getByRole("button", { name: save, exact: true }).click();
  await until("the device comes back by itself", () => wish("seen c1").then((seen) => seen === SEEN_BY.microsocks, () => false));
}
