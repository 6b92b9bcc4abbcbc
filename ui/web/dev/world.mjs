// A gateway that is only played: devices, proxies and mappings in memory, with something going on.

import { randomUUID } from "node:crypto";

const now = (secondsAgo = 0) => new Date(Date.now() - secondsAgo * 1000).toISOString();
const COUNTRIES = ["DE", "NL", "FR", "VN", "US", "SG"];
const KINDS = ["phone", "tv", "console", "tablet", "camera", "box"];
const SCHEMES = ["http", "https", "socks5"];

export function makeWorld(devices, proxies) {
  const world = { clients: new Map(), proxies: new Map(), mappings: new Map(), users: new Map(), webhooks: new Map(), tokens: new Map(), "tunnel-clients": new Map(), tunnels: new Map(), events: [], listeners: new Set(), sessions: new Set() };
  for (let n = 1; n <= proxies; n += 1) {
    const country = COUNTRIES[n % COUNTRIES.length];
    const status = n % 9 === 4 ? "DOWN" : n % 7 === 3 ? "DEGRADED" : n === proxies ? "UNKNOWN" : "OK";
    put(world.proxies, {
      name: `${country.toLowerCase()}-${n}`, scheme: SCHEMES[n % 3], host: `203.0.113.${n}`, port: 1080 + n, username: n % 2 ? "farm" : null, has_password: n % 2 === 1,
      enabled: n !== 11, note: n === 2 ? "<b>slow at night</b>" : "", labels: {}, health: {
        status, latency_ms: status === "UNKNOWN" || status === "DOWN" ? null : 40 + ((n * 37) % 160) + (status === "DEGRADED" ? 1500 : 0),
        exit_ip: status === "OK" || status === "DEGRADED" ? `198.51.100.${n}` : null, country: status === "OK" || status === "DEGRADED" ? country : null,
        checked_at: status === "UNKNOWN" ? null : now(7), error: status === "DOWN" ? "it did not answer in time" : null,
      },
    });
  }
  const ways = [...world.proxies.values()];
  for (let n = 1; n <= devices; n += 1) {
    const client = put(world.clients, {
      name: n === 5 ? "<img src=x onerror=alert(1)>" : `${KINDS[n % KINDS.length]}-${String(n).padStart(2, "0")}`, ip_cidr: `192.168.${2 + Math.floor(n / 250)}.${(n % 250) + 2}/32`,
      mac: n % 4 === 0 ? `02:00:5e:10:${String(Math.floor(n / 100)).padStart(2, "0")}:${String(n % 100).padStart(2, "0")}` : null, note: n % 6 === 0 ? "Rack B, shelf 3" : "", gateway: "gw1",
    });
    if (n % 13 === 0) continue;
    for (let k = 0; k < (n % 3 === 0 ? 2 : 1); k += 1) {
      const proxy = ways[(n * 5 + k * 3) % ways.length];
      addMapping(world, client, proxy, 10 * (k + 1), n);
    }
  }
  put(world.users, { name: "admin", role: "admin" });
  put(world.users, { name: "night-shift", role: "operator" });
  put(world.tokens, { name: "first admin token", role: "admin", last_used_at: now(40), revoked_at: null });
  put(world.tokens, { name: "grafana", role: "viewer", last_used_at: null, revoked_at: null });
  put(world.webhooks, { name: "on-call", url: "https://hooks.example/pgw", kinds: ["client.exit"], enabled: true, has_secret: true, status: { last_ok_at: now(300), failing_since: null, last_error: null, waiting: 0 } });
  const office = put(world["tunnel-clients"], { name: "office-pc", gateway: "gw1", note: "", enabled: true, allowed_ports: [], max_tunnels: 16, max_connections: 1024, status: "online", address: "192.0.2.44", version: "0.1.0", carrier: "tls", rtt_ms: 31, last_seen: now(2), enrolled: true, tunnels: 2 });
  for (const [name, local_port, state] of [["office desktop", 3389, "PENDING"], ["office shell", 22, "ACTIVE"]]) {
    put(world.tunnels, { name, tunnel_client_id: office.id, tunnel_client: office.name, gateway: "gw1", protocol: "tcp", public_port: 10_000 + local_port, local_host: "127.0.0.1", local_port, origin: "operator", enabled: true, verified: state === "ACTIVE", state, reason: state === "ACTIVE" ? null : "it waits to be verified", visitor_allow: [], basic_auth: [], compression: false, proxy_protocol: false, udp_idle_s: 30, bytes_in: 12_345_678, bytes_out: 987_654, connections: 12, active: 1 });
  }
  const some = [...world.mappings.values()];
  for (let n = 0; n < 60; n += 1) {
    const mapping = some[(n * 7) % some.length];
    if (mapping) tell(world, "mapping.state", { from: "PENDING", to: mapping.state, reason: mapping.reason }, mapping, 3600 - n * 55);
  }
  return world;
}

export function put(map, thing) {
  const made = { id: randomUUID(), revision: 1, created_at: now(86_400 * 3), updated_at: now(600 + map.size * 31), ...thing };
  map.set(made.id, made);
  return made;
}

export function reasonOf(world, mapping) {
  const proxy = world.proxies.get(mapping.proxy_id);
  const status = proxy.health.status;
  if (!mapping.enabled) return ["FAILED", "The mapping is disabled."];
  if (!proxy.enabled) return ["FAILED", `Proxy ${proxy.name} is disabled.`];
  if (status === "DOWN") return ["FAILED", `Proxy ${proxy.name} is down: it did not answer in time.`];
  if (status === "UNKNOWN") return ["PENDING", `Proxy ${proxy.name} is being checked.`];
  return ["APPLIED", `The device leaves by ${proxy.name}.`];
}

export function addMapping(world, client, proxy, priority, n) {
  const same = [...world.mappings.values()].find((one) => one.client_id === client.id);
  const mapping = put(world.mappings, { client_id: client.id, proxy_id: proxy.id, priority, target: "original", expect: {}, exclusive: false, stable_exit_ip: null, enabled: true, port: same?.port ?? 15000 + n, state: "PENDING", reason: "", applied_at: null, gateway: "gw1" });
  [mapping.state, mapping.reason] = reasonOf(world, mapping);
  mapping.applied_at = mapping.state === "APPLIED" ? mapping.updated_at : null;
  return mapping;
}

export function tell(world, kind, data, about = {}, secondsAgo = 0) {
  const mapping = world.mappings.get(about.id);
  const event = {
    id: world.events.length + 1, at: now(secondsAgo), gateway: "gw1", kind, client_id: about.client_id ?? (world.clients.has(about.id) ? about.id : null),
    mapping_id: mapping ? mapping.id : null, proxy_id: about.proxy_id ?? (world.proxies.has(about.id) ? about.id : null), by: about.by ?? null, data,
  };
  if (mapping) Object.assign(data, { client: world.clients.get(mapping.client_id)?.name, ip: world.clients.get(mapping.client_id)?.ip_cidr, proxy: world.proxies.get(mapping.proxy_id)?.name, port: mapping.port });
  world.events.push(event);
  for (const listener of world.listeners) listener(event);
}

/** A mapping goes its way, step by step, slowly enough to be seen. */
export function activate(world, mapping) {
  const steps = [
    ["PENDING", "Its proxy is being checked."],
    ["PENDING", `Forwarder ${mapping.port} is starting.`],
    ["PENDING", "Waiting for the agent to put the rule into the kernel."],
  ];
  steps.forEach(([state, reason], n) => setTimeout(() => change(world, mapping, state, reason), 500 + n * 700));
  setTimeout(() => change(world, mapping, ...reasonOf(world, mapping)), 500 + steps.length * 700);
}

export function change(world, mapping, state, reason) {
  if (!world.mappings.has(mapping.id)) return;
  const from = mapping.state;
  Object.assign(mapping, { state, reason, updated_at: now(), applied_at: state === "APPLIED" ? now() : mapping.applied_at });
  tell(world, "mapping.state", { from, to: state, reason }, mapping);
}
