// What the played gateway answers. Enough for the pages to be seen and tried; no judge of anything.

import { activate, addMapping, change, put, reasonOf, tell } from "./world.mjs";

const gone = { status: 404, body: { code: "not_found", detail: "There is no such thing." } };
const wrong = (field, detail) => ({ status: 400, body: { code: "validation_failed", detail: "The request was not understood.", errors: [{ pointer: `/${field}`, detail }] } });

function points(seconds, count, make) {
  return Array.from({ length: count }, (_, n) => ({ at: new Date(Date.now() - (seconds * (count - n) * 1000) / count).toISOString(), ...make(n) }));
}

const WINDOWS = { "15m": 900, "1h": 3600, "24h": 86_400, "7d": 604_800 };

const wave = (n, seed) => Math.max(0, Math.round(2_000_000 * (1 + Math.sin(n / 5 + seed)) + 900_000 * Math.sin(n * 1.7 + seed * 3)));

function seedOf(text) {
  return [...(text ?? "")].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 997, 7) / 50;
}

const LISTS = { proxies: "proxy", clients: "client", mappings: "mapping", users: "user", tokens: "token", webhooks: "webhook" };

function create(world, list, body) {
  const map = world[list];
  if (list === "clients" && !/^\d+\.\d+\.\d+\.\d+(\/32)?$/.test(body.ip_cidr ?? "")) return wrong("ip_cidr", "is no IPv4 address");
  if (list === "clients" && [...map.values()].some((one) => one.ip_cidr.split("/")[0] === body.ip_cidr.split("/")[0])) return { status: 409, body: { code: "address_taken", detail: `Another client has the address ${body.ip_cidr}.`, errors: [{ pointer: "/ip_cidr", detail: "is another client's" }] } };
  if (list === "proxies" && [...map.values()].some((one) => one.name === body.name)) return { status: 409, body: { code: "name_taken", detail: `Another proxy is called ${body.name}.` } };
  let made;
  if (list === "mappings") {
    const client = world.clients.get(body.client_id);
    made = addMapping(world, client, world.proxies.get(body.proxy_id), body.priority ?? 100, 300 + map.size);
    Object.assign(made, { state: "PENDING", reason: "Just made.", applied_at: null, created_at: new Date().toISOString(), updated_at: new Date().toISOString() });
    activate(world, made);
  } else {
    const defaults = { proxies: { enabled: true, note: "", labels: {}, scheme: "http", host: "proxy.example", port: 8080, health: { status: "UNKNOWN" } }, clients: { note: "", mac: null, gateway: "gw1", name: body.ip_cidr }, users: {}, tokens: {}, webhooks: { enabled: true, kinds: [], has_secret: true, status: { last_ok_at: null, failing_since: null, last_error: null, waiting: 0 } } }[list];
    const { password, url, ...rest } = body;
    made = put(map, { ...defaults, ...rest, ...(list === "webhooks" ? { url } : {}), ...(list === "proxies" ? { has_password: Boolean(password) } : {}), created_at: new Date().toISOString(), updated_at: new Date().toISOString() });
    if (list === "clients" && !made.ip_cidr.includes("/")) made.ip_cidr += "/32";
  }
  tell(world, "change", { what: LISTS[list], action: "created", name: made.name ?? "", fields: [] }, { id: made.id, client_id: list === "clients" ? made.id : null, by: "admin" });
  const extra = list === "tokens" ? { token: "pgw_" + made.id.replaceAll("-", "") } : list === "webhooks" ? { secret: "whsec_" + made.id } : {};
  return { status: 201, body: { ...made, ...extra } };
}

function update(world, list, thing, body) {
  if (list === "clients" && body.name === "") return wrong("name", "must not be empty");
  Object.assign(thing, body, { updated_at: new Date().toISOString(), revision: thing.revision + 1 });
  if (list === "mappings" && "enabled" in body) change(world, thing, ...reasonOf(world, thing));
  tell(world, "change", { what: LISTS[list], action: "updated", name: thing.name ?? "", fields: Object.keys(body) }, { ...thing, by: "admin" });
  return { status: 200, body: thing };
}

function remove(world, list, thing) {
  const used = [...world.mappings.values()].filter((one) => one.client_id === thing.id || one.proxy_id === thing.id);
  for (const mapping of used) world.mappings.delete(mapping.id);
  tell(world, "change", { what: LISTS[list], action: "deleted", name: thing.name ?? "", fields: [] }, { ...thing, by: "admin" });
  world[list].delete(thing.id);
  return { status: 204 };
}

function connections(world, query) {
  const applied = [...world.mappings.values()].filter((one) => one.state === "APPLIED" && !(world.closed ??= new Set()).has(one.port));
  const items = applied.slice(0, 120).map((one, n) => {
    const client = world.clients.get(one.client_id);
    return { id: `${one.port}-${n}`, client_id: client.id, client: client.name, ip: client.ip_cidr.split("/")[0], mapping_id: one.id, proxy: world.proxies.get(one.proxy_id).name, name: n % 5 ? `*.example${n % 9}.com` : "-", bytes_up: 1234 * n, bytes_down: 98_765 * n, age_ms: 4000 * (n + 1), idle_ms: 300 * n };
  });
  return items.filter((one) => (!query.get("client_id") || one.client_id === query.get("client_id")) && (!query.get("q") || JSON.stringify(one).includes(query.get("q"))));
}

function explain(world, asked) {
  const client = [...world.clients.values()].find((one) => one.id === asked || one.ip_cidr.startsWith(asked) || one.name === asked);
  const ways = [...world.mappings.values()].filter((one) => one.client_id === client?.id);
  const way = ways.find((one) => one.state === "APPLIED");
  const proxy = way && world.proxies.get(way.proxy_id);
  return {
    client: { id: client?.id, name: client?.name, ip_cidr: client?.ip_cidr }, destination: { host: null, port: 443, at_gateway: false }, verdict: way ? "leaves_by" : "closed",
    summary: way ? `${client.name} leaves by ${proxy.name}, seen as ${proxy.health.exit_ip}.` : `${client?.name} is closed: ${ways[0]?.reason ?? "it has no mapping."}`,
    steps: [
      { step: "registered", passes: ways.length > 0 ? "yes" : "no", detail: ways.length > 0 ? "It is registered and has a mapping." : "It is registered and has no mapping." },
      ...(ways.length > 0 ? [{ step: "destination", passes: "yes", detail: "TCP port 443 is led to its forwarder." }, { step: "upstream", passes: way ? "yes" : "no", detail: ways[0].reason }] : []),
      ...(way ? [{ step: "forwarder", passes: "yes", detail: `Forwarder ${way.port} listens.` }, { step: "rule", passes: "yes", detail: "The kernel leads it there." }] : []),
    ],
    upstreams: [], what_would_have_to_change: way ? [] : ["A proxy of this device has to work, or it needs another one."],
  };
}

const RULES = Array.from({ length: 40 }, (_, n) => `        iifname "ens19" ip saddr 192.168.2.${n + 3} tcp dport { 80, 443 } redirect to :${15001 + n}`).join("\n");

const status = (world) => ({
  version: "0.1.0", generation: 412, clients: world.clients.size, applied: [...world.mappings.values()].filter((one) => one.state === "APPLIED").length, lan_if: "ens19", wan_if: "eth0",
  last_reconcile_at: new Date(Date.now() - 6000).toISOString(), last_error: null, warnings: [],
  drift: { count: 2, last_at: new Date(Date.now() - 86_400_000).toISOString(), last_by: "nft", healed_ms: 34, fighting: false },
  drill: { last_at: new Date(Date.now() - 40_000).toISOString(), outcome: "closed", proven_closed_at: new Date(Date.now() - 40_000).toISOString(), detail: "12 packets of a closed device met the rules and none came out", took_ms: 180, kinds: [{ kind: "tcp 443", sent: 3, met: 3, leaked: 0, control: 3, not_tried: null }, { kind: "udp 443", sent: 3, met: 3, leaked: 0, control: 3, not_tried: null }, { kind: "ipv6 tcp", sent: 0, met: 0, leaked: 0, control: 0, not_tried: "this gateway does not forward IPv6" }] },
});

export function answer(world, method, url, body, text, signedIn) {
  const [, version, list, id, action] = url.pathname.split("/");
  const query = url.searchParams;
  const at = `${method} ${url.pathname}`;
  const special = {
    "GET /v1/me": () => ({ name: "admin", role: "admin", kind: "session" }),
    "GET /v1/setup": () => ({ needed: world.users.size === 0, until: new Date(Date.now() + 1_800_000).toISOString(), signed_in: signedIn }),
    "GET /readyz": () => ({ ready: true, checks: [{ name: "database", ok: true, detail: "it can be read and written" }, { name: "agent", ok: true, detail: "it answers" }, { name: "units", ok: true, detail: "systemd answers" }] }),
    "GET /version": () => ({ name: "pgw-api", version: "0.1.0" }),
    "GET /v1/gateways": () => ({ items: [{ name: "gw1", version: "0.1.0", online: true, started_at: new Date(Date.now() - 86_400_000).toISOString(), seen_at: new Date().toISOString(), clients: world.clients.size, applied: 20, pending: 1, failed: 3, ports_free: 950 }] }),
    "GET /v1/journal": () => ({ items: world.events.filter((one) => (!query.get("client_id") || one.client_id === query.get("client_id")) && (!query.get("kind") || query.get("kind").split(",").includes(one.kind))).slice(-100).reverse(), next_cursor: null }),
    "GET /v1/telemetry/traffic": () => ({ window_s: 3600, step_s: 60, points: points(3600, 60, (n) => ({ bytes_up: wave(n, seedOf(query.get("client_id"))) / 9, bytes_down: wave(n, seedOf(query.get("client_id"))) * 3, connections: n % 7 })) }),
    "GET /v1/telemetry/now": () => ({ up_bps: 4_200_000, down_bps: 87_000_000, connections: 214, clients: [...world.clients.keys()].map((client_id, n) => ({ client_id, up_bps: n * 900, down_bps: n * 21_000, connections: n % 9 })) }),
    "GET /v1/telemetry/health": () => ({ window_s: WINDOWS[query.get("window")], step_s: WINDOWS[query.get("window")] / 60, points: points(WINDOWS[query.get("window")], 60, (n) => ({ latency_ms: n % 23 === 5 ? null : 60 + Math.round(40 * Math.abs(Math.sin(n / 3 + seedOf(query.get("proxy_id"))))), status: n % 23 === 5 ? "DOWN" : "OK" })) }),
    "GET /v1/telemetry/names": () => ({ items: ["*.example.com", "*.video.example", "*.cdn.example"].map((name, n) => ({ name, connections: 90 - n * 20, bytes_up: 1e6 * (3 - n), bytes_down: 1e7 * (3 - n) })) }),
    "GET /v1/connections": () => ({ items: connections(world, query), next_cursor: null }),
    "GET /v1/explain": () => explain(world, query.get("client")),
    "GET /v1/apply": () => ({ waiting: null, ended: null }),
    "GET /agent/status": () => status(world),
    "POST /agent/drill": () => status(world).drill,
    "POST /agent/reconcile": () => ({ generation: 413 }),
    "GET /agent/neighbours": () => ({ items: Array.from({ length: 9 }, (_, n) => ({ ip: `192.168.2.${n === 0 ? 3 : 200 + n}`, mac: `02:00:5e:20:00:0${n}`, state: n % 2 ? "reachable" : "stale" })) }),
    "POST /v1/proxies/import": () => {
      const lines = text.split("\n").map((line, n) => [line.trim(), n + 1]).filter(([line]) => line !== "" && !line.startsWith("#"));
      const told = lines.map(([line, n]) => (/:\d+/.test(line) ? { line: n, result: query.get("dry_run") === "true" ? "would_create" : "created", name: line.replace(/^.*@/, "").slice(0, 60) } : { line: n, result: "invalid", detail: "there is no port in it" }));
      return { dry_run: query.get("dry_run") === "true", created: told.filter((one) => one.result !== "invalid").length, unchanged: 0, failed: told.filter((one) => one.result === "invalid").length, lines: told };
    },
    "POST /v1/apply": () => ({ dry_run: query.get("dry_run") === "true", plan: { create: [{ what: "proxy", name: "de-77" }], change: [{ what: "proxy", name: "nl-1", fields: [{ field: "port", from: 1081, to: 1090 }, { field: "password", from: "(secret)", to: "(secret)" }] }], remove: [{ what: "client", name: "tv-07" }], keep: 40 }, apply_id: query.get("dry_run") === "true" ? null : "a1", confirm_by: query.get("confirm_within") ? new Date(Date.now() + 60_000).toISOString() : null }),
  }[at];
  if (at === "GET /agent/ruleset") return { status: 200, text: `table ip pgw { # generation 412\n    map client_port {\n        type ipv4_addr : inet_service\n    }\n    chain prerouting {\n        type nat hook prerouting priority dstnat; policy accept;\n${RULES}\n    }\n}\n` };
  if (at === "GET /v1/export") return { status: 200, text: "version: 1\nproxies:\n  - name: nl-1\n    scheme: socks5\n    host: 203.0.113.1\n    port: 1081\n    enabled: true\n    note: ''\n    labels: {}\nclients: []\n" };
  if (special) return { status: 200, body: special() };
  if (version !== "v1") return gone;
  if (list === "apply") return { status: 200, body: {} };
  if (list === "connections") {
    world.closed.add(Number(id.split("-")[0]));
    return { status: 204 };
  }
  const map = world[list];
  if (!map) return gone;
  if (!id) return method === "GET" ? { status: 200, body: { items: [...map.values()].slice(Number(query.get("cursor") ?? 0), Number(query.get("cursor") ?? 0) + Number(query.get("limit") ?? 100)), next_cursor: Number(query.get("cursor") ?? 0) + Number(query.get("limit") ?? 100) < map.size ? String(Number(query.get("cursor") ?? 0) + Number(query.get("limit") ?? 100)) : null } } : create(world, list, body);
  const thing = map.get(id);
  if (!thing) return gone;
  if (action === "check") {
    Object.assign(thing.health, { checked_at: new Date().toISOString() });
    return { status: 200, body: thing.health };
  }
  if (action === "stats") return { status: 200, body: { ...thing, visitors: [{ address: "198.51.100.7:50211", since: thing.created_at, connections: 1, bytes_in: 54_321, bytes_out: 1234 }] } };
  if (action === "sessions") return { status: 200, body: { items: [] } };
  if (action === "test") return { status: 200, body: { delivered: true, status: 204 } };
  return method === "GET" ? { status: 200, body: thing } : method === "PATCH" ? update(world, list, thing, body) : remove(world, list, thing);
}
