import assert from "node:assert/strict";
import { addClient, addProxy, addUser, becomes, rest, stateOf, wish } from "../gateway.mjs";
import { go, shows, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  await addProxy("squid");
  const client = await addClient("c1");
  const page = await stage.visitor();
  await signIn(page);
  await wish("stop pgw-agent");
  stage.bears(/50[23]/);

  await go(page, "Map");
  await page.getByLabel(/c1/).check();
  await page.getByLabel(/squid/).check();
  await page.getByRole("button", { name: "Map 1" }).click();
  // Without an agent nobody can say that the rule is in the kernel.
  await page.locator("ol.steps li").filter({ hasText: /agent/i }).first().waitFor();
  assert.equal(await page.getByRole("heading", { name: "0 of 1 applied" }).count(), 1);
  await page.getByRole("button", { name: "Done" }).click();
  await shows(page, "c1", "Pending");

  // From here on every word that the row has shown is kept.
  await page.evaluate(() => {
    globalThis.shown = [];
    const look = () => globalThis.shown.push(document.querySelector("[role=row][data-state]")?.getAttribute("data-state"));
    new MutationObserver(look).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await wish("start pgw-agent");
  await shows(page, "c1", "Open");
  const { items } = await rest("GET", `/v1/mappings?client_id=${client.id}`);
  assert.equal(items[0].state, "APPLIED", "it is said to be open, and is");
  assert.deepEqual([...new Set(await page.evaluate(() => globalThis.shown))].filter((state) => state !== "pending" && state !== "open"), []);

  // Not everywhere: only what is redirected leaves.
  await page.getByRole("link", { name: "c1", exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "c1" });
  await sheet.getByLabel(/^To where/).fill("example.com:8443");
  await sheet.getByLabel(/^To where/).press("Enter");
  await sheet.getByText("What would have to change").waitFor();
  await sheet.getByText(/8443/).first().waitFor();
  await sheet.getByLabel(/^To where/).fill("");
  await sheet.getByRole("button", { name: "Ask", exact: true }).click();
  await sheet.getByText("What would have to change").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");

  // Closed by hand: at once, and said when it is so.
  await page.getByRole("button", { name: "More for c1" }).click();
  await page.getByRole("menuitem", { name: "Close" }).click();
  await shows(page, "c1", "Closed");
  assert.notEqual(await stateOf(items[0].id), "APPLIED");
  await page.getByRole("button", { name: "More for c1" }).click();
  await page.getByRole("menuitem", { name: "Open again" }).click();
  await becomes(items[0].id, "APPLIED");
  await shows(page, "c1", "Open");
}
