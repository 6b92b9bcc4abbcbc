// The gateway beside the browser: what the lab grants, and the API as another operator uses it.

import { createInterface } from "node:readline";

/** Its address on the LAN, as an operator's laptop asks it. */
const GATEWAY = "http://10.64.0.1";
export const UI = `${GATEWAY}:8081`;
const API = `${GATEWAY}:8080`;
export const PASSWORD = "correct horse battery";
/** As the origin sees whoever comes by them. */
export const SEEN_BY = { squid: "203.0.113.21", microsocks: "203.0.113.22" };
/** The other address of the one that moves. */
export const MOVED = "203.0.113.31";
export const IP = { c1: "10.64.0.11", c2: "10.64.0.12" };
const UPSTREAMS = {
  squid: { scheme: "http", port: 3128, password: "p:a@ss/w%rd" },
  microsocks: { scheme: "socks5", port: 1080, password: "p:a@ss/w%rd" },
};

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Of the world around the browser. One at a time. */
export async function wish(what) {
  process.stdout.write(`wish: ${what}\n`);
  const { value } = await answers.next();
  const { granted, refused } = JSON.parse(value);
  if (refused !== undefined) throw new Error(`${what}: ${refused}`);
  return granted;
}

export async function rest(method, path, body) {
  const headers = { authorization: `Bearer ${process.env.PGW_TOKEN}`, ...(body === undefined ? {} : { "content-type": "application/json" }) };
  const response = await fetch(API + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw Object.assign(new Error(`${method} ${path}: ${response.status} ${text}`), { status: response.status });
  return text === "" ? undefined : JSON.parse(text);
}

export async function until(what, ask, patience = 60_000) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export const addUser = (name = "olga", role = "admin") => rest("POST", "/v1/users", { name, role, password: PASSWORD });

/** The upstream runs, and the gateway knows it. */
export async function addProxy(kind, name = kind) {
  await wish(`upstream ${kind}`);
  return nameProxy(kind, name);
}

/** Another name for an upstream that runs. */
export function nameProxy(kind, name) {
  return rest("POST", "/v1/proxies", { name, host: kind, username: "lab", ...UPSTREAMS[kind] });
}

export const addClient = (name, ip_cidr = IP[name]) => rest("POST", "/v1/clients", { name, ip_cidr });

export async function addMapping(client, proxy, priority = 10) {
  const { id } = await rest("POST", "/v1/mappings", { client_id: client.id, proxy_id: proxy.id, priority });
  return id;
}

export const stateOf = async (mapping) => (await rest("GET", `/v1/mappings/${mapping}`)).state;
export const becomes = (mapping, state) => until(`${mapping} is ${state}`, async () => (await stateOf(mapping)) === state);
