import assert from "node:assert/strict";
import { addClient, addUser, PASSWORD, rest, until } from "../gateway.mjs";
import { choose, go, here, row, signIn } from "../steps.mjs";

const FORGOTTEN = "nobody remembers this";
const URL = "http://127.0.0.1:9/pgw";

export default async function play(stage) {
  await addUser();
  await addClient("c1");
  const [page, colleague] = [await stage.visitor(), await stage.visitor()];
  await signIn(page);
  await letIn(page, colleague);
  await otherPassword(stage, page, colleague);
  await onlyLook(page, stage);
  await webhook(page);
  await leave(colleague);
}

const inSettings = async (page, part) => {
  await go(page, "Settings");
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: part }).click();
};

async function letIn(page, colleague) {
  await inSettings(page, "Users");
  await page.getByRole("button", { name: "New user" }).click();
  const form = page.getByRole("dialog", { name: "New user" });
  await form.getByLabel("Name", { exact: true }).fill("per");
  await form.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await form.getByRole("button", { name: "Create" }).click();
  await row(page, "per").waitFor();
  await signIn(colleague, "per");
  await go(colleague, "Settings");
  assert.equal(await colleague.getByRole("link", { name: "Users" }).count(), 0, "an operator makes no users");
  await go(colleague, "Devices");
}

/** He has lost it: his sessions end, and what he was doing stays. */
async function otherPassword(stage, page, colleague) {
  stage.bears(/401/);
  await page.getByRole("button", { name: "New password for per" }).click();
  const form = page.getByRole("dialog", { name: "New password for per" });
  await form.getByLabel("New password").fill(FORGOTTEN);
  await form.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("per has a new password").waitFor();
  const again = colleague.getByRole("dialog", { name: "Your session has ended" });
  await again.waitFor();
  await again.getByLabel("Password", { exact: true }).fill(FORGOTTEN);
  await again.getByRole("button", { name: "Sign in", exact: true }).click();
  await again.waitFor({ state: "detached" });
  await here(colleague, "Devices");
}

async function onlyLook(page, stage) {
  await addUser("vera", "viewer");
  const viewer = await stage.visitor();
  await signIn(viewer, "vera");
  await go(viewer, "Devices");
  await viewer.getByRole("link", { name: "c1", exact: true }).click();
  const sheet = viewer.getByRole("dialog", { name: "c1" });
  await sheet.getByText(/Why is it closed/).waitFor();
  for (const word of ["Remove", "Close", "Map…", "Edit"]) assert.equal(await sheet.getByRole("button", { name: word, exact: true }).count(), word === "Close" ? 1 : 0, word);
  await viewer.keyboard.press("Escape");
  await go(viewer, "Map");
  await viewer.getByText("You may look, but not change anything.").waitFor();
}

/** One that has never been told anything is not said to work. */
async function webhook(page) {
  await inSettings(page, "Webhooks");
  await page.getByRole("button", { name: "New webhook" }).click();
  const form = page.getByRole("dialog", { name: "New webhook" });
  await form.getByLabel("Name", { exact: true }).fill("on-call");
  await form.getByLabel("URL").fill(URL);
  await form.getByLabel("Leak drills").check();
  await form.getByRole("button", { name: "Create" }).click();
  await page.getByRole("button", { name: "I have kept it" }).click();
  await page.getByText("nothing sent yet").waitFor();
  await page.getByRole("button", { name: "Edit on-call" }).click();
  const edit = page.getByRole("dialog", { name: "Edit on-call" });
  await edit.getByLabel("URL").fill(`${URL}/night`);
  await edit.getByLabel("Drift of the rules").check();
  await edit.getByRole("button", { name: "Save", exact: true }).click();
  await edit.waitFor({ state: "detached" });
  await page.getByText(`${URL}/night`).waitFor();
  const [hook] = (await rest("GET", "/v1/webhooks")).items;
  assert.deepEqual([hook.url, [...hook.kinds].sort()], [`${URL}/night`, ["drift", "drill"]]);
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByRole("region", { name: "Messages" }).getByRole("alert").waitFor();
}

/** Whoever signs out has meant what he did before. */
async function leave(colleague) {
  await choose(colleague, "c1", "Remove");
  await colleague.getByText("Removing c1").waitFor();
  await colleague.getByRole("button", { name: /You, theme and language/ }).click();
  await colleague.getByRole("menuitem", { name: "Sign out" }).click();
  await here(colleague, "Sign in to pgw");
  await until("it is removed", async () => (await rest("GET", "/v1/clients")).items.length === 0, 2000);
  const { items } = await rest("GET", "/v1/journal?kind=change&limit=20");
  assert.match(items.find(({ data }) => data.what === "client" && data.action === "deleted").by, /per/);
}
