import assert from "node:assert/strict";
import { addUser, rest, until, wish } from "../gateway.mjs";
import { go, here, row, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  await wish("start pgw-tunneld");
  const page = await stage.visitor();
  await signIn(page);
  const command = await makeClient(page);
  const link = await openPort(page);
  await verify(stage, page, link);
  await lookAround(page);
  await connect(stage, page, command);
  await closeAndOpen(page);
  await takeToken(page);
  await remove(page);
}

const only = async () => (await rest("GET", "/v1/tunnels")).items[0];

async function makeClient(page) {
  await go(page, "Tunnels");
  await page.getByRole("button", { name: "New client" }).first().click();
  await page.getByRole("dialog").getByLabel("Name", { exact: true }).fill("office-pc");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const sheet = page.getByRole("dialog", { name: "office-pc" });
  await sheet.waitFor();
  const [{ id }] = (await rest("GET", "/v1/tunnel-clients")).items;
  await until("the daemon is heard of", () => rest("POST", `/v1/tunnel-clients/${id}/enrolment`).then(() => true, () => false));
  await sheet.getByRole("button", { name: "Make the command" }).click();
  const command = await sheet.locator("pre").textContent();
  assert.match(command, /pgw-connect/);
  await copied(page, sheet, command);
  await page.keyboard.press("Escape");
  await row(page, "office-pc").waitFor();
  return command;
}

/** A gateway is opened by http, where browsers keep their clipboard to themselves; it is filled all the same. */
async function copied(page, sheet, command) {
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await sheet.getByRole("button", { name: "Copy", exact: true }).click();
  await sheet.getByRole("button", { name: "Copied" }).waitFor();
  await sheet.getByRole("button", { name: "Edit", exact: true }).click();
  const note = sheet.getByLabel("Note");
  await note.focus();
  await page.keyboard.press("Control+V");
  assert.equal(await note.inputValue(), command);
}

/** Three clicks: new, what, open. Gives the link by which it is to be verified. */
async function openPort(page) {
  await page.getByRole("button", { name: "New tunnel" }).click();
  await page.getByRole("button", { name: /^SSH/ }).click();
  await page.getByRole("button", { name: "Open", exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "office-pc SSH" });
  const link = await sheet.getByRole("link", { name: /\/verify\// }).getAttribute("href");
  const tunnel = await only();
  assert.equal(tunnel.verified, false);
  assert.ok(tunnel.public_port >= 10_000, "the gateway has picked a port");
  await sheet.getByText(`:${tunnel.public_port}`).first().waitFor();
  return link;
}

/** By somebody who has no user here. */
async function verify(stage, page, link) {
  const stranger = await stage.visitor();
  await stranger.goto(link);
  await here(stranger, "Is this tunnel meant?");
  await stranger.getByText("127.0.0.1:22").waitFor();
  assert.equal((await only()).verified, false, "opening the page changes nothing");
  await stage.picture(stranger, "verify-light");
  await stranger.getByRole("button", { name: "Yes, open it" }).click();
  await here(stranger, "Confirmed");
  await until("it is verified", async () => (await only()).verified);
  await page.getByText("It opens once it is verified").waitFor({ state: "detached" });
  // Spent: told in words.
  stage.bears(/404/);
  await stranger.reload();
  await stranger.getByRole("alert").waitFor();
}

async function lookAround(page) {
  const sheet = page.getByRole("dialog", { name: "office-pc SSH" });
  await sheet.getByText("Nobody is connected at this moment.").waitFor();
  await sheet.getByRole("button", { name: "Sessions" }).click();
  await sheet.getByText("It has never been connected.").waitFor();
  // Where the machine really answers.
  await sheet.getByRole("button", { name: "Edit", exact: true }).click();
  await sheet.getByLabel("Port", { exact: true }).fill("7000");
  await sheet.getByRole("button", { name: "Save", exact: true }).click();
  await sheet.getByText("127.0.0.1:7000").waitFor();
  await sheet.getByRole("button", { name: "Connected", exact: true }).click();
}

/** The very command that was shown is typed on the machine; from then on visitors come through, and are seen. */
async function connect(stage, page, command) {
  const sheet = page.getByRole("dialog", { name: "office-pc SSH" });
  await wish(`home ${command}`);
  await sheet.getByText("Open", { exact: true }).waitFor();
  const { public_port } = await only();
  await until("a visitor is answered", () => wish(`visit ${public_port}`).then(() => true, () => false));
  await sheet.getByRole("cell", { name: /^203\.0\.113\.23/ }).waitFor();
  await stage.picture(page, "tunnel-visited-light");
  await sheet.getByRole("button", { name: "Sessions" }).click();
  await sheet.getByText("now", { exact: true }).first().waitFor();
  await page.keyboard.press("Escape");
  await row(page, "office-pc SSH").getByRole("cell", { name: "1", exact: true }).waitFor();
  await page.getByRole("link", { name: /^Clients/ }).click();
  await row(page, "office-pc").getByText("Online", { exact: true }).waitFor();
  await row(page, "office-pc").getByText(/^203\.0\.113\.24/).waitFor();
  await page.getByRole("link", { name: /^Tunnels \d/ }).click();
}

async function closeAndOpen(page) {
  await page.getByRole("link", { name: "office-pc SSH" }).click();
  const sheet = page.getByRole("dialog", { name: "office-pc SSH" });
  const { public_port } = await only();
  // The one at the bottom; the other closes what is shown.
  await sheet.locator(".foot").getByRole("button", { name: "Close", exact: true }).click();
  await sheet.getByText(/closed by user olga/).waitFor();
  await assert.rejects(wish(`visit ${public_port}`));
  await sheet.getByRole("button", { name: "Open again" }).click();
  await sheet.getByText("Open", { exact: true }).waitFor();
  await until("a visitor is answered again", () => wish(`visit ${public_port}`).then(() => true, () => false));
  await page.keyboard.press("Escape");
}

/** Asked for before it is done: the machine is cut off by it. */
async function takeToken(page) {
  await page.getByRole("link", { name: /^Clients/ }).click();
  await page.getByRole("link", { name: "office-pc", exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "office-pc" });
  await sheet.getByText("Online", { exact: true }).waitFor();
  await sheet.getByRole("button", { name: "New token" }).click();
  const asked = page.getByRole("dialog", { name: "New token" });
  await asked.getByRole("button", { name: "Cancel" }).click();
  await asked.waitFor({ state: "detached" });
  assert.equal((await rest("GET", "/v1/tunnel-clients")).items[0].status, "online");
  await sheet.getByRole("button", { name: "New token" }).click();
  await asked.getByRole("button", { name: "Replace the token" }).click();
  await page.getByRole("dialog", { name: "The new token" }).getByRole("button", { name: "I have kept it" }).click();
  await sheet.getByText("Offline", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: /^Tunnels \d/ }).click();
}

async function remove(page) {
  await page.getByRole("link", { name: "office-pc SSH" }).click();
  await page.getByRole("dialog", { name: "office-pc SSH" }).getByRole("button", { name: "Remove" }).click();
  await page.getByRole("region", { name: "Messages" }).getByRole("button", { name: "Now" }).click();
  await until("it is gone", async () => (await rest("GET", "/v1/tunnels")).items.length === 0);
  await page.getByRole("heading", { name: "There are no tunnels yet" }).waitFor();
}
