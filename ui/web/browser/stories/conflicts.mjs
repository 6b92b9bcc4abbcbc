import assert from "node:assert/strict";
import { addClient, addProxy, addUser, rest } from "../gateway.mjs";
import { choose, go, row, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  const client = await addClient("c1");
  await addProxy("squid");
  const page = await stage.visitor();
  await signIn(page);
  stage.bears(/412/, /409/, /404/);
  /** Another operator, at another desk. */
  const meanwhile = (body) => rest("PATCH", `/v1/clients/${client.id}`, body);
  const now = () => rest("GET", `/v1/clients/${client.id}`);

  await go(page, "Devices");
  await page.getByRole("link", { name: "c1", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "c1" });
  await dialog.getByRole("button", { name: "Edit", exact: true }).click();
  const [note, save] = [dialog.getByLabel("Note"), dialog.getByRole("button", { name: "Save", exact: true })];
  await note.fill("mine");
  await meanwhile({ note: "theirs" });
  await save.click();
  await dialog.getByText(/Somebody else has changed this in the meantime/).waitFor();
  assert.equal((await now()).note, "theirs", "nobody is written over unawares");
  await dialog.getByRole("button", { name: "Take theirs" }).click();
  await dialog.getByText(/Somebody else/).waitFor({ state: "detached" });
  assert.equal(await note.inputValue(), "theirs");
  await note.fill("mine again");
  await meanwhile({ note: "theirs again" });
  await save.click();
  await dialog.getByRole("button", { name: "Save mine over it" }).click();
  await page.getByText("Saved").waitFor();
  assert.equal((await now()).note, "mine again");
  await page.keyboard.press("Escape");

  // A name, typed where the old one stands.
  await choose(page, "c1", "Rename");
  const name = page.getByLabel("New name of c1");
  await name.fill("mine");
  await meanwhile({ name: "theirs" });
  await page.getByRole("textbox", { name: /New name of/ }).press("Enter");
  await page.getByText(/it is called theirs now/).waitFor();
  await page.getByRole("textbox", { name: /New name of/ }).press("Enter");
  await row(page, "mine").waitFor();
  assert.equal((await now()).name, "mine");

  // Removed, while somebody else finds that it is needed.
  const toast = page.getByRole("region", { name: "Messages" });
  await choose(page, "mine", "Remove");
  await meanwhile({ note: "needed!" });
  await toast.getByRole("button", { name: "Now" }).click();
  await toast.getByText(/so it was left as it is/).waitFor();
  assert.equal((await now()).note, "needed!");
  await toast.getByRole("button", { name: "Do it all the same" }).click();
  await row(page, "mine").waitFor({ state: "detached" });
  await assert.rejects(now());

  // Taken already: said beside the form, which stays.
  await go(page, "Proxies");
  await page.getByRole("button", { name: "Add a proxy" }).click();
  const form = page.getByRole("dialog", { name: "Add a proxy" });
  await form.getByLabel("Name", { exact: true }).fill("squid");
  await form.getByLabel("Host").fill("203.0.113.99");
  await form.getByRole("button", { name: "Add", exact: true }).click();
  await form.getByRole("alert").filter({ hasText: /squid|name/i }).waitFor();
  assert.equal(await form.getByLabel("Host").inputValue(), "203.0.113.99");
  await form.getByLabel("Name", { exact: true }).fill("another");
  await form.getByRole("button", { name: "Add", exact: true }).click();
  await row(page, "another").waitFor();
}
