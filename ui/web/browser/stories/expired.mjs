import assert from "node:assert/strict";
import { addClient, addUser, PASSWORD, rest } from "../gateway.mjs";
import { go, signIn } from "../steps.mjs";

const NOTE = "Rack B, shelf 3: typed with much trouble";

export default async function play(stage) {
  const olga = await addUser();
  const client = await addClient("c1");
  const page = await stage.visitor();
  await signIn(page);
  await go(page, "Devices");
  await page.getByRole("link", { name: "c1", exact: true }).click();
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  const note = page.getByLabel("Note");
  await note.fill(NOTE);

  // Somebody gives her another password: all of her sessions end, and their streams.
  stage.bears(/401/);
  await rest("PATCH", `/v1/users/${olga.id}`, { password: PASSWORD });
  const again = page.getByRole("dialog", { name: "Your session has ended" });
  const save = page.getByRole("button", { name: "Save", exact: true });
  if (!(await again.isVisible())) await save.click({ timeout: 2000 }).catch(() => undefined);
  await again.waitFor();
  assert.equal(await note.inputValue(), NOTE);
  await again.getByLabel("Password", { exact: true }).fill("wrong as it can be");
  await again.getByRole("button", { name: "Sign in", exact: true }).click();
  await again.getByText("Name or password is wrong.").waitFor();
  await again.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await again.getByRole("button", { name: "Sign in", exact: true }).click();
  await again.waitFor({ state: "detached" });
  assert.equal(await note.inputValue(), NOTE, "what was typed is still there");
  if (await save.isEnabled()) await save.click();
  await page.getByText("Saved").waitFor();
  assert.equal((await rest("GET", `/v1/clients/${client.id}`)).note, NOTE);
}
