import assert from "node:assert/strict";
import { makeFarm } from "../farm.mjs";
import { OPENED, PAGES } from "../pages.mjs";
import { PHONE } from "../stage.mjs";
import { choicesStayInside, fitsItsWidth, here, signIn } from "../steps.mjs";

export default async function play(stage) {
  const ids = await makeFarm();
  const page = await stage.visitor({ size: PHONE, theme: "dark" });
  await signIn(page);
  for (const language of ["en", "vi"]) {
    if (language === "vi") await speakVietnamese(page);
    assert.equal(await page.evaluate(() => document.documentElement.lang), language);
    for (const one of PAGES) {
      await page.goto(one.path);
      await here(page, one[language]);
      await looked(stage, page, `phone-${one.name}-${language}`);
    }
    for (const { name, path } of OPENED) {
      await page.goto(path(ids));
      await page.getByRole("dialog").waitFor();
      await looked(stage, page, `phone-${name}-${language}`);
    }
  }
}

async function speakVietnamese(page) {
  await page.goto("/");
  await here(page, "Overview");
  await page.getByRole("button", { name: "Open the menu" }).click();
  await page.getByRole("dialog").getByRole("button", { name: /You, theme and language/ }).click();
  await page.getByRole("menuitem", { name: "Tiếng Việt" }).click();
  await here(page, "Tổng quan");
  await page.keyboard.press("Escape");
}

async function looked(stage, page, name) {
  await page.waitForTimeout(500);
  await fitsItsWidth(page, name);
  await choicesStayInside(page, name);
  const keys = await page.evaluate(() => document.body.innerText.match(/\b(acts|nav|state|device|devices|proxies|map|journal|settings|drill|overview|tunnels|trouble)\.[a-z_]+\b/g));
  assert.equal(keys, null, `${name}: a text is missing`);
  await stage.picture(page, name);
}
