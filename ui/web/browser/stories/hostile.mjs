import assert from "node:assert/strict";
import { addClient, addProxy, addUser, rest } from "../gateway.mjs";
import { go, MEBIBYTE, pasteInto, row, signIn } from "../steps.mjs";

const MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
const LONG = "W".repeat(100);

export default async function play(stage) {
  await addUser();
  const client = await addClient(MARKUP, "10.64.0.11");
  await addClient(LONG, "10.64.0.12");
  const proxy = await addProxy("squid", '"><svg onload=alert(3)>');
  await rest("PATCH", `/v1/clients/${client.id}`, { note: MARKUP });
  await rest("POST", "/v1/mappings", { client_id: client.id, proxy_id: proxy.id });
  const page = await stage.visitor();
  await signIn(page);
  for (const title of ["Devices", "Proxies", "Map", "Journal", "Firewall", "Overview"]) {
    await go(page, title);
    if (title === "Devices") await row(page, MARKUP).waitFor();
    await page.waitForTimeout(300);
    assert.equal(await page.locator("main img[src=x], main script, main svg[onload]").count(), 0, title);
  }
  await page.goto(`/devices/${client.id}`);
  await page.getByRole("dialog", { name: MARKUP }).waitFor();
  await page.keyboard.press("Escape");
  const long = await rest("POST", "/v1/proxies", { name: LONG, scheme: "http", host: `${"h".repeat(60)}.example`, port: 8080, username: LONG, password: LONG });
  await page.goto(`/proxies/${long.id}`);
  await nothingLiesOverTheCross(page.getByRole("dialog", { name: LONG }));
  await page.keyboard.press("Escape");

  await go(page, "Proxies");
  await page.getByRole("button", { name: "Import…" }).click();
  const dialog = page.getByRole("dialog", { name: "Import proxies" });
  const pasted = await pasteInto(dialog.getByLabel("Lines to import"), 5 * MEBIBYTE - 100);
  console.log(`measured: a paste of 5 MiB is taken and the page answers again after ${pasted.toFixed(0)} ms`);
  await dialog.getByText(/lines were pasted/).waitFor();
  stage.bears(/50[34]|400|413/);
  // The gateway says what would become of each line, or in words why it cannot.
  await dialog.locator("section[aria-live=polite], [role=alert]").first().waitFor({ timeout: 60_000 });
  await dialog.getByRole("button", { name: "Paste something else" }).click();
  await pasteInto(dialog.getByLabel("Lines to import"), 6 * MEBIBYTE);
  await dialog.getByText("This is 6.0 MB; at most 5 MB can be sent at once.").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });

  await go(page, "Settings");
  await page.getByRole("link", { name: "Configuration" }).click();
  const slow = await pasteInto(page.getByLabel("Configuration (YAML)"), 5 * MEBIBYTE);
  console.log(`measured: a document of 5 MiB is taken and the page answers again after ${slow.toFixed(0)} ms`);
  await page.getByText(/lines were pasted/).waitFor();
  await page.getByRole("button", { name: "Show the plan" }).click();
  await page.getByRole("alert").first().waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Paste something else" }).click();
  await page.getByLabel("Configuration (YAML)").waitFor();
}

async function nothingLiesOverTheCross(dialog) {
  const cross = await dialog.getByRole("button", { name: "Close", exact: true }).first().boundingBox();
  for (const words of await dialog.locator(".head > .stack > *").all()) {
    const { x, width } = await words.boundingBox();
    assert.ok(x + width <= cross.x, `${await words.textContent()} lies over the cross`);
  }
}
