import assert from "node:assert/strict";
import { addClient, addMapping, addProxy, addUser, becomes, nameProxy, rest, until } from "../gateway.mjs";
import { choose, go, row, shows, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  const [one, other] = [await addProxy("squid"), await addProxy("microsocks")];
  const client = await addClient("c1");
  const spare = await addClient("spare", "10.64.0.50");
  await becomes(await addMapping(client, one, 10), "APPLIED");
  await addMapping(client, other, 20);
  const page = await stage.visitor();
  await signIn(page);
  stage.bears(/409/);
  await takeBack(page);
  await oldLink(page, spare);
  await drag(page, client);
  await replace(page, client);
  await several(page);
  await applyDocument(page);
}

async function takeBack(page) {
  const names = async () => (await rest("GET", "/v1/clients")).items.map((client) => client.name);
  await go(page, "Devices");
  await choose(page, "spare", "Remove");
  const toast = page.getByRole("region", { name: "Messages" });
  await toast.getByText("Removing spare").waitFor();
  assert.ok((await names()).includes("spare"), "until the time is over nothing is asked of the gateway");
  await toast.getByRole("button", { name: "Undo" }).click();
  await toast.getByText("Removing spare").waitFor({ state: "detached" });
  assert.ok((await names()).includes("spare"));
  await choose(page, "spare", "Remove");
  await toast.getByRole("button", { name: "Now" }).click();
  await row(page, "spare").waitFor({ state: "detached" });
  assert.deepEqual(await names(), ["c1"]);
}

async function oldLink(page, spare) {
  await page.goto(`/devices/${spare.id}`);
  await page.getByText("What this address leads to is not there any more.").waitFor();
  await go(page, "Overview");
  await go(page, "Devices");
}

/** Many at once; whoever is in use stays, until somebody insists. */
async function several(page) {
  await nameProxy("squid", "old-1");
  await nameProxy("squid", "old-2");
  const names = async () => (await rest("GET", "/v1/proxies")).items.map((proxy) => proxy.name).sort();
  for (const name of ["old-1", "old-2", "third"]) await page.getByLabel(`Choose ${name}`).check();
  await page.getByRole("toolbar", { name: "3 chosen" }).getByRole("button", { name: "Remove" }).click();
  const toast = page.getByRole("region", { name: "Messages" });
  await toast.getByText("Removing 3 proxies").waitFor();
  await toast.getByRole("button", { name: "Now" }).click();
  await toast.getByRole("button", { name: "Do it all the same" }).waitFor();
  assert.deepEqual(await names(), ["microsocks", "squid", "third"]);
  await toast.getByRole("button", { name: "Close" }).last().click();
}

/** By the grip of the second line, above the first. */
async function drag(page, client) {
  await page.getByRole("link", { name: "c1", exact: true }).click();
  const grip = page.getByRole("button", { name: /^Move microsocks/ });
  const [from, to] = [await grip.boundingBox(), await page.getByRole("button", { name: /^Move squid/ }).boundingBox()];
  await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(to.x + to.width / 2, to.y + to.height / 2, { steps: 6 });
  await page.mouse.up();
  await page.getByText("The new order is saved").waitFor();
  const order = (await rest("GET", `/v1/mappings?client_id=${client.id}&sort=priority`)).items.map((mapping) => mapping.priority);
  assert.deepEqual(order, [10, 20]);
  await page.getByRole("button", { name: /^Move microsocks, place 1 of 2/ }).waitFor();
  await page.keyboard.press("Escape");
}

async function replace(page, client) {
  const third = await nameProxy("squid", "third");
  await go(page, "Proxies");
  await page.getByRole("link", { name: "squid", exact: true }).click();
  await page.getByRole("button", { name: /^Used by/ }).click();
  await page.getByLabel("Replace everywhere by").selectOption({ value: third.id });
  await page.getByRole("button", { name: "Replace for 1" }).click();
  await page.getByText("Replaced for 1 device").waitFor();
  const proxies = (await rest("GET", `/v1/mappings?client_id=${client.id}`)).items.map((mapping) => mapping.proxy_id);
  assert.ok(proxies.includes(third.id) && proxies.length === 2, "it has kept its place in the list");
  await page.keyboard.press("Escape");
}

async function applyDocument(page) {
  await go(page, "Settings");
  await page.getByRole("link", { name: "Configuration" }).click();
  await page.getByRole("button", { name: "Read what there is" }).click();
  const text = page.getByLabel("Configuration (YAML)");
  await until("the document is there", async () => (await text.inputValue()).includes("c1"));
  await text.fill((await text.inputValue()).replace("name: c1", "name: phone-of-the-boss"));
  await page.getByRole("button", { name: "Show the plan" }).click();
  await page.getByText("0 to create, 1 to change, 0 to remove.").waitFor();
  await page.getByText("name: phone-of-the-boss").last().waitFor();
  assert.equal((await rest("GET", "/v1/clients")).items[0].name, "c1", "a plan changes nothing");
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText(/Applied on trial/).first().waitFor();
  // Whether it is good is seen elsewhere, and can be said there.
  await go(page, "Devices");
  await row(page, "phone-of-the-boss").waitFor();
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByText("It stays").waitFor();
  assert.equal((await rest("GET", "/v1/apply")).waiting ?? null, null);
  await shows(page, "phone-of-the-boss", "Open");
}
