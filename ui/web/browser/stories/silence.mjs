import assert from "node:assert/strict";
import { addClient, addMapping, addProxy, addUser, becomes, rest, until, wish } from "../gateway.mjs";
import { go, shows, signIn } from "../steps.mjs";

export default async function play(stage) {
  await addUser();
  const mapping = await addMapping(await addClient("c1"), await addProxy("squid"));
  await becomes(mapping, "APPLIED");
  const page = await stage.visitor();
  await signIn(page);
  await go(page, "Devices");
  await shows(page, "c1", "Open");

  stage.bears(/50[234]/, /ERR_|network error/i);
  await wish("stop pgw-api");
  const lost = page.getByText(/Connection lost, retrying/);
  await lost.waitFor();
  await page.getByText(/pgw-api cannot be reached/).first().waitFor();
  await shows(page, "c1", "Open");
  await page.getByRole("link", { name: "c1", exact: true }).click();
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByLabel("Note").fill("written in the dark");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("dialog").getByText(/pgw-api cannot be reached/).waitFor();

  await wish("start pgw-api");
  await lost.waitFor({ state: "detached" });
  assert.equal(await page.getByLabel("Note").inputValue(), "written in the dark");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved").waitFor();
  await page.keyboard.press("Escape");

  await wish("stop pgw-agent");
  await go(page, "Firewall");
  await page.getByText("does not answer").first().waitFor();
  // Nothing is claimed of what nobody could be asked.
  assert.equal(await page.getByText("Not known: the agent does not answer", { exact: true }).count(), 2);
  await go(page, "Overview");
  await page.getByText("The agent does not answer; the rules stay as they are").waitFor();
  await wish("start pgw-agent");
  await page.getByText("The agent does not answer; the rules stay as they are").waitFor({ state: "detached", timeout: 60_000 });
  await becomes(mapping, "APPLIED");
  await until("the gateway is ready", () => rest("GET", "/readyz").then(({ ready }) => ready).catch(() => false));
}
