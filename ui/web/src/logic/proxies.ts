// Which proxies are shown, in which order, and how one is written.

import type { Proxy } from "../api/shapes";
import { labelText } from "./labels";
import { countryOf, type Query } from "./query";

export const PROXY_FILTERS = ["health", "scheme", "country", "enabled"] as const;

const ORDER = { DOWN: 0, DEGRADED: 1, UNKNOWN: 2, OK: 3 };
const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export const urlOf = (proxy: Proxy): string => `${proxy.scheme}://${proxy.username ? `${proxy.username}@` : ""}${proxy.host}:${proxy.port}`;

function valueOf(proxy: Proxy, filter: string): string {
  if (filter === "health") return proxy.health.status;
  if (filter === "scheme") return proxy.scheme;
  if (filter === "country") return countryOf(proxy) ?? "none";
  return proxy.enabled ? "yes" : "no";
}

export function matchesProxy(proxy: Proxy, query: Query): boolean {
  const text = `${proxy.name} ${urlOf(proxy)} ${proxy.note} ${labelText(proxy.labels)} ${proxy.health.exit_ip ?? ""}`.toLowerCase();
  if (!query.words.every((word) => text.includes(word))) return false;
  return [...query.filters].every(([filter, wanted]) => wanted.includes(valueOf(proxy, filter).toLowerCase()));
}

/** What needs somebody comes first. */
export function sortProxies(proxies: Proxy[]): Proxy[] {
  return [...proxies].sort((one, other) => ORDER[one.health.status] - ORDER[other.health.status] || words.compare(one.name, other.name));
}

/** With what was read of their health, where that is newer; of whom nothing is known yet, an event will tell. */
export function withHealth(known: ReadonlyMap<string, Proxy>, read: Proxy[]): ReadonlyMap<string, Proxy> {
  const now = new Map(known);
  for (const { id, health } of read) {
    const proxy = known.get(id);
    if (proxy && (health.checked_at ?? "") > (proxy.health.checked_at ?? "")) now.set(id, { ...proxy, health });
  }
  return now;
}
