import assert from "node:assert/strict";
import { addClient, addMapping, addProxy, addUser, becomes, PASSWORD, rest, until } from "../gateway.mjs";
import { here, row, tabTo } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  const [one, other] = [await addProxy("squid"), await addProxy("microsocks")];
  const client = await addClient("c1");
  await addClient("c2");
  await becomes(await addMapping(client, one, 10), "APPLIED");
  await addMapping(client, other, 20);
  const page = await stage.visitor();
  const keys = page.keyboard;
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");

  await page.goto("/");
  await here(page, "Sign in to pgw");
  await tabTo(page, page.getByLabel("Name", { exact: true }));
  await keys.type("olga");
  await keys.press("Tab");
  await keys.type(PASSWORD);
  await keys.press("Enter");
  await here(page, "Overview");

  await keys.press("Tab");
  assert.equal(await focused(), "To the content", "the navigation can be passed over");
  await keys.type("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await keys.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  await keys.type("gd");
  await here(page, "Devices");
  await until("the page says where one is", async () => (await focused()) === "Devices");
  // Where nothing is typed the keys are keys.
  await page.getByLabel("Choose c1", { exact: true }).focus();
  await keys.type("/");
  await keys.type("c2");
  await row(page, "c1").waitFor({ state: "detached" });
  await keys.press("Escape");
  await row(page, "c1").waitFor();
  await keys.press("Escape");

  await reorder(page, client);
  await rename(page);
  await map(page);
}

async function reorder(page, client) {
  await tabTo(page, page.getByRole("link", { name: "c1", exact: true }));
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "c1" }).waitFor();
  await tabTo(page, page.getByRole("button", { name: /^Move squid, place 1 of 2/ }));
  await page.keyboard.press("ArrowDown");
  await page.getByRole("button", { name: /^Move squid, place 2 of 2/ }).waitFor();
  await until("the gateway has the new order", async () => {
    const { items } = await rest("GET", `/v1/mappings?client_id=${client.id}&sort=priority`);
    return items[0].priority < items[1].priority && items[0].priority === 10;
  });
  assert.match(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? ""), /^Move squid/, "the grip keeps the focus");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.notEqual(await page.evaluate(() => document.activeElement?.tagName), "BODY", "one is where one was");
}

async function rename(page) {
  const begin = async () => {
    await tabTo(page, page.getByRole("button", { name: "More for c2" }));
    await page.keyboard.press("Enter");
    await page.getByRole("menu").waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByLabel("New name of c2").waitFor();
  };
  await begin();
  await page.keyboard.type("a slip");
  await page.keyboard.press("Escape");
  await page.getByLabel("New name of c2").waitFor({ state: "detached" });
  await row(page, "c2").waitFor();
  await until("one is where one was", () => page.getByRole("link", { name: "c2", exact: true }).evaluate((link) => link === document.activeElement));
  await begin();
  assert.ok((await rest("GET", "/v1/clients")).items.some((one) => one.name === "c2"), "Escape leaves it as it was");
  await page.keyboard.type("tablet");
  await page.keyboard.press("Enter");
  await row(page, "tablet").waitFor();
  assert.ok((await rest("GET", "/v1/clients")).items.some((one) => one.name === "tablet"));
}

async function map(page) {
  await page.keyboard.type("gm");
  await here(page, "Map");
  await tabTo(page, page.getByLabel(/tablet/));
  await page.keyboard.press("Space");
  await tabTo(page, page.getByLabel(/squid/));
  await page.keyboard.press("Space");
  await tabTo(page, page.getByRole("button", { name: "Map 1" }));
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "1 of 1 applied" }).waitFor();
}
