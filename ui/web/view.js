// What is to be seen, from what the services said. No questions asked here, nothing drawn.

const SIGNS = { APPLIED: "✓", PENDING: "…", FAILED: "✕", CLOSED: "⊘" };

// One row per mapping, and one per device that has none: registered is closed, not absent.
export function rowsOf({ clients, mappings, proxies }) {
  const proxyOf = new Map(proxies.map((proxy) => [proxy.id, proxy]));
  const clientOf = new Map(clients.map((client) => [client.id, client]));
  const open = new Set(mappings.filter((m) => m.state === "APPLIED").map((m) => m.client_id));
  const mapped = new Set(mappings.map((m) => m.client_id));

  const rows = mappings.map((mapping) => {
    const client = clientOf.get(mapping.client_id);
    const proxy = proxyOf.get(mapping.proxy_id);
    return {
      key: mapping.id,
      device: client?.name ?? "unknown device",
      address: addressOf(client),
      state: mapping.state,
      sign: SIGNS[mapping.state] ?? "?",
      effect: open.has(mapping.client_id) ? "device open" : "device closed",
      upstream: proxy?.name ?? "unknown proxy",
      health: healthOf(proxy),
      reason: mapping.reason,
      port: String(mapping.port),
      change: lastChange(mapping),
      priority: mapping.priority,
    };
  });
  for (const client of clients.filter((one) => !mapped.has(one.id))) {
    rows.push({
      key: client.id,
      device: client.name,
      address: addressOf(client),
      state: "CLOSED",
      sign: SIGNS.CLOSED,
      effect: "device closed",
      upstream: "none",
      health: "",
      reason: "it is registered and has no mapping",
      port: "–",
      change: { what: "edited", time: client.updated_at },
      priority: 0,
    });
  }
  return rows.sort((a, b) =>
    a.device.localeCompare(b.device, undefined, { numeric: true }) || a.priority - b.priority || (a.key < b.key ? -1 : 1));
}

export function summaryOf({ clients, mappings }) {
  const open = new Set(mappings.filter((m) => m.state === "APPLIED").map((m) => m.client_id));
  const closed = clients.filter((client) => !open.has(client.id)).length;
  const failed = mappings.filter((m) => m.state === "FAILED").length;
  const parts = [`${open.size} open`, `${closed} closed`];
  if (failed > 0) parts.push(`${failed} ${failed === 1 ? "mapping" : "mappings"} failed`);
  return parts.join(" · ");
}

export function agentFacts(agent, at) {
  return [
    ["Devices in the kernel", `${agent.applied} redirected, ${agent.clients} registered`],
    ["Last reconcile", agent.last_reconcile_at ? ago(agent.last_reconcile_at, at) : "none yet"],
    ["Generation", agent.generation ?? "none confirmed yet"],
    ["Interfaces", `LAN ${agent.lan_if}, WAN ${agent.wan_if}`],
    ["Rules repaired", repairs(agent.drift, at)],
    ["Version", agent.version],
  ].map(([name, value]) => [name, String(value)]);
}

function repairs({ count, last_at: last, last_by: who, fighting }, at) {
  if (count === 0) return "never";
  const times = count === 1 ? "once" : `${count} times, last`;
  const still = fighting ? "; it keeps changing them" : "";
  return `${times} ${last ? ago(last, at) : ""}${who ? `, after ${who}` : ""}${still}`;
}

export function ago(time, at) {
  const seconds = Math.max(0, Math.round((at - Date.parse(time)) / 1000));
  if (Number.isNaN(seconds)) return "–";
  if (seconds < 3) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}

const addressOf = (client) => client?.ip_cidr.replace(/\/32$/, "") ?? "";

function healthOf(proxy) {
  if (!proxy) return "";
  if (!proxy.enabled) return "disabled";
  const { status, latency_ms: latency } = proxy.health;
  return latency === null || latency === undefined ? status : `${status} · ${latency}\u00a0ms`;
}

// What is not open was last touched by an operator; since when it is shut, nobody wrote down.
function lastChange({ applied_at: opened, updated_at: edited }) {
  return opened && Date.parse(opened) > Date.parse(edited) ? { what: "opened", time: opened } : { what: "edited", time: edited };
}
