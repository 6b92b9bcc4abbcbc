// What people do again and again.

import assert from "node:assert/strict";
import { PASSWORD } from "./gateway.mjs";

export const MEBIBYTE = 1024 * 1024;

export async function signIn(page, name = "olga") {
  await page.goto("/");
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await here(page, "Overview");
}

/** The page is there, and has what it shows first. */
export async function here(page, title) {
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
}

/** Without loading anything anew, as a person does. */
export async function go(page, title) {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: title, exact: true }).click();
  await here(page, title);
}

export const row = (page, name) => page.getByRole("row").filter({ has: page.getByText(name, { exact: true }) });

/** Shown by word. */
export async function shows(page, name, state, timeout = 60_000) {
  await row(page, name).getByText(state, { exact: true }).waitFor({ timeout });
}

export async function choose(page, name, what) {
  await page.getByRole("button", { name: `More for ${name}` }).click();
  await page.getByRole("menuitem", { name: what, exact: true }).click();
}

/** By the tabulator alone, from where one is. */
export async function tabTo(page, locator, most = 80) {
  for (let tried = 0; tried < most; tried += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${locator} is not reached within ${most} steps`);
}

export async function fitsItsWidth(page, what) {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= width, `${what}: ${content} px wide on ${width}`);
}

/** Nothing of a row of choices lies outside of it, over what is below. */
export async function choicesStayInside(page, what) {
  const out = await page.evaluate(() =>
    [...document.querySelectorAll(".segments")].flatMap((row) => {
      const { top, bottom, left, right } = row.getBoundingClientRect();
      const inside = (box) => box.top >= top - 1 && box.bottom <= bottom + 1 && box.left >= left - 1 && box.right <= right + 1;
      return [...row.children].filter((choice) => !inside(choice.getBoundingClientRect())).map((choice) => choice.textContent.trim());
    }),
  );
  assert.deepEqual(out, [], `${what}: these stick out`);
}

/** Milliseconds until the browser has drawn it and hears again. */
export function pasteInto(field, size) {
  return field.evaluate((area, length) => {
    const line = "socks5://user:secret@203.0.113.77:1080 name-";
    let text = "";
    for (let n = 0; text.length < length; n += 1) text += `${line}${n}\n`;
    const clipboardData = new DataTransfer();
    clipboardData.setData("text", text.slice(0, length));
    const begun = performance.now();
    area.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun))));
  }, size);
}
