import assert from "node:assert/strict";
import { addUser, nameProxy, rest, until, wish } from "../gateway.mjs";
import { publish } from "../report.mjs";
import { go, here, MEBIBYTE, pasteInto, signIn } from "../steps.mjs";

const DEVICES = 1000;
const ALL = "1,000 of 1,000";
const OPEN = 20;
const WORD = "phone-07";
const RENAMED = 30;

const median = (values) => [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)];
const worst = (values) => Math.max(...values);
const results = [];

function say(what, values, wanted = null) {
  const [middle, last] = [median(values), worst(values)];
  console.log(`measured: ${DEVICES} devices: ${what}: median ${middle.toFixed(1)} ms, worst of ${values.length} ${last.toFixed(1)} ms`);
  results.push({ what, wanted, count: values.length, median: middle, worst: last });
}

export default async function play(stage) {
  await addUser();
  await wish("upstream squid");
  await nameProxy("squid", "works");
  await crowd();
  const page = await stage.visitor();
  await signIn(page);
  await load(page);
  await type(page);
  await hear(page);
  await paste(page);
  publish(page, results);
}

/** Most are closed: a thousand forwarders would measure this machine and no page. */
async function crowd() {
  const dead = Array.from({ length: 9 }, (_, n) => ({ name: `dead-${n}`, scheme: "http", host: "203.0.113.22", port: 9 + n }));
  const { version, proxies } = { version: 1, proxies: [...dead] };
  const clients = Array.from({ length: DEVICES }, (_, n) => ({
    name: `phone-${String(n).padStart(4, "0")}`,
    ip_cidr: `10.70.${(n + 1) >> 8}.${(n + 1) & 255}`,
    ...(n < 900 ? { mappings: [{ proxy: n < OPEN ? "works" : `dead-${n % 9}` }] } : {}),
  }));
  const { items } = await rest("GET", "/v1/proxies");
  const works = items.find((proxy) => proxy.name === "works");
  proxies.push({ name: works.name, scheme: works.scheme, host: works.host, port: works.port, username: works.username });
  await rest("POST", "/v1/apply", { version, proxies, clients });
  await until("those that can be are open", async () => (await rest("GET", "/v1/mappings?state=APPLIED&limit=500")).items.length >= OPEN, 120_000);
}

/** Until the first rows are drawn and the page hears the keyboard. */
async function load(page) {
  const [behindLoad, fromStart] = [[], []];
  for (let n = 0; n < 5; n += 1) {
    await page.addInitScript(() => {
      globalThis.drawn = new Promise((done) => {
        const look = () => document.querySelectorAll("[role=row][data-state]").length > 5 && requestAnimationFrame(() => setTimeout(() => done(performance.now())));
        new MutationObserver(look).observe(document, { subtree: true, childList: true });
      });
    });
    await page.goto("/devices");
    await here(page, "Devices");
    const drawn = await page.evaluate(() => globalThis.drawn);
    const loaded = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
    behindLoad.push(drawn - loaded);
    fromStart.push(drawn);
  }
  await page.getByText(ALL).waitFor();
  say("table interactive after the page's load event", behindLoad, 1000);
  say("table interactive after the address was opened", fromStart);
}

/** From each key to the next picture with what it found. */
async function type(page) {
  const search = page.getByRole("searchbox", { name: "Search devices" });
  await search.focus();
  await page.evaluate(() => {
    globalThis.strokes = [];
    addEventListener("keydown", ({ timeStamp }) => requestAnimationFrame(() => setTimeout(() => globalThis.strokes.push(performance.now() - timeStamp))), true);
  });
  for (let n = 0; n < 5; n += 1) {
    await search.pressSequentially(WORD, { delay: 30 });
    await page.getByText("100 of 1,000").waitFor();
    for (let letter = 0; letter < WORD.length; letter += 1) await page.keyboard.press("Backspace", { delay: 10 });
  }
  await page.getByText(ALL).waitFor();
  const strokes = await page.evaluate(() => globalThis.strokes);
  assert.ok(strokes.length >= 5 * WORD.length);
  say("a keystroke in the search until the rows are drawn", strokes, 50);
}

/** From the moment at which somebody else's change was committed to the row that shows it. */
async function hear(page) {
  const { items } = await rest("GET", "/v1/clients?q=phone-000&limit=10");
  const late = [];
  for (let n = 0; n < RENAMED; n += 1) {
    const name = `phone-0000-${n}`;
    const shown = page.evaluate(
      (wanted) =>
        new Promise((done) => {
          const look = () => [...document.querySelectorAll("[role=row] a")].some((link) => link.textContent === wanted) && requestAnimationFrame(() => setTimeout(() => done(Date.now())));
          new MutationObserver(look).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true });
        }),
      name,
    );
    const { updated_at } = await rest("PATCH", `/v1/clients/${items[0].id}`, { name });
    late.push((await shown) - Date.parse(updated_at));
  }
  say("a change until its row shows it", late, 200);
}

async function paste(page) {
  await go(page, "Proxies");
  await page.getByRole("button", { name: "Import…" }).click();
  const lines = page.getByRole("dialog", { name: "Import proxies" }).getByLabel("Lines to import");
  say("a paste of 5 MiB until the page answers again", [await pasteInto(lines, 5 * MEBIBYTE - 100)]);
}
