import assert from "node:assert/strict";
import { addClient, addMapping, addProxy, addUser, becomes, MOVED, rest, SEEN_BY, wish } from "../gateway.mjs";
import { go, here, row, shows, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  const squid = await addProxy("squid");
  await addClient("c1");
  const other = await addClient("c2");
  const page = await stage.visitor();
  await signIn(page);
  stage.bears(/400/);
  await expectElsewhere(page);
  await beToldAndMend(stage, page);
  await share(page, other, squid);
  await move(stage, page);
}

const mappingOf = async (name) => {
  const { items } = await rest("GET", "/v1/clients");
  return (await rest("GET", `/v1/mappings?client_id=${items.find((client) => client.name === name).id}`)).items[0];
};

/** Made with conditions that its way out does not meet: it never opens, and says why. */
async function expectElsewhere(page) {
  await go(page, "Map");
  await page.getByLabel(/c1/).check();
  await page.getByLabel(/squid/).check();
  await page.getByText("Conditions: without them nobody leaves").click();
  await page.getByLabel("Country of the exit").fill("fr");
  await page.getByLabel(/^Stable/).check();
  await page.getByRole("button", { name: "Map 1" }).click();
  await page.locator("ol.steps li").filter({ hasText: `exit is ${SEEN_BY.squid} (NL), expected FR` }).waitFor();
  assert.equal(await page.getByRole("heading", { name: "0 of 1 applied" }).count(), 1);
  const { expect, state } = await mappingOf("c1");
  assert.deepEqual([expect.country, expect.stable, state], ["FR", true, "FAILED"]);
  await assert.rejects(wish("seen c1"));
  await page.getByRole("button", { name: "Done" }).click();
  await shows(page, "c1", "Closed");
}

/** The overview leads there, and the condition is changed in place. */
async function beToldAndMend(stage, page) {
  await go(page, "Overview");
  await page.getByText("c1 is closed although its proxy works").waitFor();
  await page.getByRole("link", { name: "See why" }).click();
  const sheet = page.getByRole("dialog", { name: "c1" });
  await sheet.getByText(/expected FR/).first().waitFor();
  await sheet.getByRole("button", { name: "Edit the way by squid" }).click();
  const form = page.getByRole("dialog", { name: "Edit the way out" });
  await form.getByLabel("Country of the exit").fill("1x");
  await form.getByRole("button", { name: "Save", exact: true }).click();
  await form.locator(".field").filter({ hasText: "Country of the exit" }).getByRole("alert").waitFor();
  await form.getByLabel("Country of the exit").fill("nl");
  // What was refused is no longer what stands there.
  await form.getByRole("alert").waitFor({ state: "detached" });
  await stage.picture(page, "mapping-edit-light");
  await form.getByRole("button", { name: "Save", exact: true }).click();
  await form.waitFor({ state: "detached" });
  await sheet.getByText("Applied", { exact: true }).waitFor();
  await sheet.getByText("with conditions").waitFor();
  assert.equal(await wish("seen c1"), SEEN_BY.squid);
  await page.keyboard.press("Escape");
  await here(page, "Devices");
  await shows(page, "c1", "Open");
  await row(page, "c1").getByText(SEEN_BY.squid).waitFor();
  await row(page, "c1").getByText("NL", { exact: true }).waitFor();
  await page.getByRole("searchbox", { name: "Search devices" }).focus();
  await page.getByRole("button", { name: "country:" }).click();
  await page.keyboard.type("nl");
  await row(page, "c2").waitFor({ state: "detached" });
  await row(page, "c1").waitFor();
  await page.waitForURL(/q=country%3Anl/);
  await page.keyboard.press("Escape");
}

/** Whoever has it for itself shares it with nobody. */
async function share(page, other, squid) {
  await page.getByRole("link", { name: "c1", exact: true }).click();
  await page.getByRole("button", { name: "Edit the way by squid" }).click();
  const form = page.getByRole("dialog", { name: "Edit the way out" });
  await form.getByLabel(/^Exclusive/).check();
  await form.getByRole("button", { name: "Save", exact: true }).click();
  await form.waitFor({ state: "detached" });
  assert.equal((await mappingOf("c1")).exclusive, true);
  await page.keyboard.press("Escape");
  const mapping = await addMapping(other, squid);
  await becomes(mapping, "FAILED");
  await shows(page, "c2", "Closed");
  await row(page, "c2").getByText(/used by c1/).waitFor();
  // Else it would take the next address, which is nobody's yet.
  await rest("DELETE", `/v1/clients/${other.id}?cascade=true`);
  await row(page, "c2").waitFor({ state: "detached" });
}

/** Its address changes by itself: closed, and open again once somebody accepts it. */
async function move(stage, page) {
  await wish("move squid");
  await shows(page, "c1", "Closed");
  await assert.rejects(wish("seen c1"));
  await page.getByRole("link", { name: "c1", exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "c1" });
  await sheet.getByRole("button", { name: `Accept ${MOVED}` }).waitFor();
  await stage.picture(page, "device-moved-light");
  await sheet.getByRole("button", { name: `Accept ${MOVED}` }).click();
  await page.getByText(`${MOVED} is expected from now on`).waitFor();
  await sheet.getByText("Applied", { exact: true }).waitFor();
  assert.equal(await wish("seen c1"), MOVED);
  await sheet.getByRole("button", { name: "History", exact: true }).click();
  await sheet.getByText("c1 is closed").first().waitFor();
  await sheet.getByText("c1 leaves by squid").first().waitFor();
}
