import assert from "node:assert/strict";
import { PASSWORD, rest, SEEN_BY, until, wish } from "../gateway.mjs";
import { go, here, shows, signIn } from "../steps.mjs";

/** Wrong at first, as people are; the password holds what makes naive programs stumble. */
const PASTE = "http://lab:p%3Aa%40ss%2Fw%25rd@squid:3128\nthis is no proxy";

export default async function play(stage) {
  const page = await stage.visitor();
  await setUp(page);
  await signInAgain(page);
  await wish("upstream squid");
  await importProxies(page);
  await mapDevice(page);
  await dieAndReturn(page);
}

async function setUp(page) {
  await page.goto("/");
  await here(page, "Welcome to pgw");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.getByLabel("Password again").fill("other");
  await page.getByRole("button", { name: "Create and sign in" }).click();
  await page.getByText("At least 12 characters are needed.").waitFor();
  await page.getByText("The two are not the same.").waitFor();
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password again").fill(PASSWORD);
  await page.getByRole("button", { name: "Create and sign in" }).click();
  await here(page, "Overview");
}

async function signInAgain(page) {
  await page.getByRole("button", { name: /You, theme and language/ }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await here(page, "Sign in to pgw");
  await signIn(page, "admin");
  await page.reload();
  await here(page, "Overview");
}

async function importProxies(page) {
  await go(page, "Proxies");
  await page.getByRole("button", { name: "Import…" }).first().click();
  const dialog = page.getByRole("dialog", { name: "Import proxies" });
  const lines = dialog.getByLabel("Lines to import");
  await lines.fill(PASTE);
  await dialog.getByRole("row").filter({ hasText: "new" }).waitFor();
  await dialog.getByRole("row").filter({ hasText: "cannot be read" }).waitFor();
  assert.ok(!(await dialog.getByRole("table").textContent()).includes("p%3Aa"), "a password is shown");
  assert.equal((await rest("GET", "/v1/proxies")).items.length, 0, "nothing is made before it was asked for");
  await dialog.getByRole("button", { name: "Import 1" }).click();
  // What was made is taken out, what was not stays to be mended.
  await until("the bad line is left", async () => (await lines.inputValue()) === "this is no proxy");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await shows(page, "squid:3128", "OK");
}

async function mapDevice(page) {
  // It has been heard on the LAN, so it is offered.
  await wish("seen c1");
  await go(page, "Map");
  await page.getByLabel(/10\.64\.0\.11/).check();
  await page.getByLabel(/squid:3128/).check();
  await page.getByRole("button", { name: "Map 1" }).click();
  await page.getByRole("heading", { name: "1 of 1 applied" }).waitFor();
  const [mapping] = (await rest("GET", "/v1/mappings")).items;
  assert.equal(mapping.state, "APPLIED");
  assert.ok((await page.locator("ol.steps li").count()) >= 2, "it was told step by step");
  assert.equal(await wish("seen c1"), SEEN_BY.squid);
  await page.getByRole("button", { name: "Done" }).click();
  await shows(page, "10.64.0.11", "Open");
}

async function dieAndReturn(page) {
  await wish("kill squid");
  await shows(page, "10.64.0.11", "Closed");
  await assert.rejects(wish("seen c1"));
  await wish("upstream squid");
  await shows(page, "10.64.0.11", "Open");
  assert.equal(await wish("seen c1"), SEEN_BY.squid);
}
