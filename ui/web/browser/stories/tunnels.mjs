import assert from "node:assert/strict";
import { addUser, rest, until, wish } from "../gateway.mjs";
import { go, here, row, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  await wish("start pgw-tunneld");
  const page = await stage.visitor();
  await signIn(page);
  await makeClient(page);
  const link = await openPort(page);
  await verify(stage, page, link);
  await lookAround(stage, page);
}

const only = async () => (await rest("GET", "/v1/tunnels")).items[0];

async function makeClient(page) {
  await go(page, "Tunnels");
  await page.getByRole("button", { name: "New client" }).click();
  await page.getByRole("dialog").getByLabel("Name", { exact: true }).fill("office-pc");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const sheet = page.getByRole("dialog", { name: "office-pc" });
  await sheet.waitFor();
  const [{ id }] = (await rest("GET", "/v1/tunnel-clients")).items;
  await until("the daemon is heard of", () => rest("POST", `/v1/tunnel-clients/${id}/enrolment`).then(() => true, () => false));
  await sheet.getByRole("button", { name: "Make the command" }).click();
  const command = await sheet.locator("pre").textContent();
  assert.match(command, /pgw-connect/);
  await page.keyboard.press("Escape");
  await row(page, "office-pc").waitFor();
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

async function lookAround(stage, page) {
  const sheet = page.getByRole("dialog", { name: "office-pc SSH" });
  await sheet.getByText("Nobody is connected at this moment.").waitFor();
  await sheet.getByRole("button", { name: "Sessions" }).click();
  await sheet.getByText("It has never been connected.").waitFor();
  await stage.picture(page, "tunnel-light");
  await sheet.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("region", { name: "Messages" }).getByRole("button", { name: "Now" }).click();
  await until("it is gone", async () => (await rest("GET", "/v1/tunnels")).items.length === 0);
  await page.getByRole("heading", { name: "There are no tunnels yet" }).waitFor();
}
