// Draws, and asks again every two seconds. What a service says enters the page as text only.

import { Trouble, ask, askAll, askReadiness, now } from "./rest.js";
import { agentFacts, ago, rowsOf, summaryOf } from "./view.js";

const EVERY_MS = 2_000;
const KEPT_AS = "pgw-token";
const at = (id) => document.getElementById(id);

// Each signing in is a session of its own: an answer that comes after "Forget token" is nobody's.
let session = null;
let shownAt = null;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text ?? "";
  return element;
}

// Only what differs is touched, so that nothing that is read or selected is torn away.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function sayIfAny(element, text) {
  say(element, text ?? "");
  element.hidden = !text;
}

function drawRow(row, data) {
  row.dataset.state = data.state;
  const [device, state, upstream, reason, port, changed] = row.cells;
  say(device.children[0], data.device);
  say(device.children[1], data.address);
  say(state.children[0].children[0], data.sign);
  say(state.children[0].children[1], data.state);
  say(state.children[1], data.effect);
  say(upstream.children[0], data.upstream);
  say(upstream.children[1], data.health);
  say(reason.children[0], data.reason);
  say(port.children[0], data.port);
  const time = changed.children[0];
  time.dateTime = data.change.time;
  time.title = new Date(data.change.time).toLocaleString();
  say(time, `${data.change.what} ${ago(data.change.time, now())}`);
}

function newRow() {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const cell = (label, ...children) => {
    const td = document.createElement("td");
    td.setAttribute("role", "cell");
    td.dataset.label = label;
    td.append(...children);
    row.append(td);
    return td;
  };
  const chip = make("span", "", "chip");
  const sign = make("span", "", "sign");
  sign.setAttribute("aria-hidden", "true");
  chip.append(sign, make("span"));
  cell("Device", make("strong"), make("span", "", "quiet below"));
  cell("State", chip, make("span", "", "quiet below"));
  cell("Upstream", make("span"), make("span", "", "quiet below"));
  cell("Why", make("span"));
  cell("Port", make("span")).className = "number";
  cell("Last change", make("time")).className = "number";
  return row;
}

const known = new Map();

function drawDevices({ clients, mappings, proxies }) {
  const lists = { clients: clients.items, mappings: mappings.items, proxies: proxies.items };
  const rows = rowsOf(lists);
  const body = at("rows");
  const keys = new Set(rows.map((row) => row.key));
  for (const [key, row] of known) {
    if (!keys.has(key)) {
      row.remove();
      known.delete(key);
    }
  }
  rows.forEach((data, index) => {
    const row = known.get(data.key) ?? newRow();
    known.set(data.key, row);
    drawRow(row, data);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  at("devices").hidden = rows.length === 0;
  at("nobody").hidden = rows.length > 0;
  say(at("summary"), rows.length > 0 ? summaryOf(lists) : "");
  const cut = clients.more || mappings.more || proxies.more;
  sayIfAny(at("cut"), cut ? "There are more than are shown here; the counts are of what is shown." : null);
}

// Yesterday's "ready" is worse than nothing: what cannot be asked is not shown.
function drawReadiness({ value, reason }) {
  sayIfAny(at("ready-trouble"), reason?.message);
  const entries = (value?.checks ?? []).map(({ name, ok, detail }) => {
    const item = make("li", "", ok ? "good" : "bad");
    const sign = make("span", ok ? "✓" : "✕", "sign");
    sign.setAttribute("aria-hidden", "true");
    const text = make("span");
    text.append(make("strong", name), make("span", ok ? " ready" : " not ready"), make("span", detail, "quiet below"));
    item.append(sign, text);
    return item;
  });
  replaceIfChanged(at("checks"), entries);
}

function drawAgent({ value, reason }) {
  sayIfAny(at("agent-trouble"), reason?.message ?? [value.last_error, ...value.warnings].filter(Boolean).join("\n"));
  const facts = value ? agentFacts(value, now()) : [];
  replaceIfChanged(at("agent"), facts.flatMap(([name, fact]) => [make("dt", name), make("dd", fact)]));
}

function replaceIfChanged(parent, children) {
  const same = parent.children.length === children.length
    && children.every((child, index) => child.isEqualNode(parent.children[index]));
  if (!same) parent.replaceChildren(...children);
}

function banner(trouble) {
  const since = shownAt ? ` What is shown is from ${shownAt}.` : "";
  sayIfAny(at("banner"), trouble ? `${trouble.message} Retrying.${since}` : null);
  for (const part of ["summary", "devices"]) at(part).classList.toggle("stale", Boolean(trouble));
}

async function lists(token) {
  const [clients, mappings, proxies] = await Promise.all(
    ["clients", "mappings", "proxies"].map((name) => askAll(`/api/v1/${name}`, token)));
  return { clients, mappings, proxies };
}

async function look(mine) {
  const [devices, ready, agent] = await Promise.allSettled(
    [lists(mine.token), askReadiness(), ask("/agent/status", mine.token)]);
  if (session !== mine) return;
  if (devices.reason?.kind === "token") return signOut(devices.reason.message);
  drawReadiness(ready);
  drawAgent(agent);
  const trouble = devices.reason;
  if (trouble && !(trouble instanceof Trouble)) console.error(trouble);
  if (!trouble) {
    drawDevices(devices.value);
    shownAt = new Date().toLocaleTimeString();
    say(at("as-of"), shownAt);
  }
  banner(trouble);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Nobody looks: nobody asks.
const seen = () => new Promise((done) => {
  if (!document.hidden) return done();
  document.addEventListener("visibilitychange", () => done(), { once: true });
});

async function watch(mine) {
  while (session === mine) {
    await seen();
    await look(mine);
    await pause(EVERY_MS);
  }
}

async function signIn(token) {
  const mine = { token };
  session = mine;
  let me = null;
  try {
    me = await ask("/api/v1/me", token);
  } catch (trouble) {
    if (session !== mine) return;
    if (trouble.kind === "token") return signOut("This token is not accepted. It may have been revoked or mistyped.");
    banner(trouble);
  }
  if (session !== mine) return;
  sessionStorage.setItem(KEPT_AS, token);
  say(at("who"), me ? `${me.name} (${me.role})` : "");
  at("token").value = "";
  show("status");
  watch(mine);
}

function signOut(why) {
  session = null;
  shownAt = null;
  sessionStorage.removeItem(KEPT_AS);
  at("rows").replaceChildren();
  known.clear();
  banner(null);
  say(at("token-trouble"), why ?? "");
  show("sign-in");
  at("token").focus();
}

function show(which) {
  at("sign-in").hidden = which !== "sign-in";
  at("status").hidden = which !== "status";
  at("session").hidden = which !== "status";
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  say(at("token-trouble"), "");
  const token = at("token").value.trim();
  // A header cannot carry anything else, and no token holds it.
  if (/^[!-~]+$/.test(token)) signIn(token).then(() => session && at("devices-title").focus());
  else say(at("token-trouble"), "A token has letters, digits and signs only, and no spaces.");
});
at("forget").addEventListener("click", () => signOut());

const kept = sessionStorage.getItem(KEPT_AS);
if (kept) signIn(kept);
else show("sign-in");
