// What is typed into a search field: words that must all be found, and filters such as
// state:closed. The same text stands in the address, so that a link shows the same rows.

import { type DeviceRow, ipNumber } from "./devices";
import type { Proxy } from "../api/shapes";

export interface Query {
  words: string[];
  /** Of several values of one filter, one has to fit. */
  filters: Map<string, string[]>;
}

export const DEVICE_FILTERS = ["state", "proxy", "health", "country", "gateway", "pinned"] as const;
export const DEVICE_SORTS = ["name", "ip", "state", "proxy", "latency", "changed"] as const;
export type DeviceSort = (typeof DEVICE_SORTS)[number];

/** "two words" in quotes belong together, also behind a filter. */
export function parse(text: string, known: readonly string[]): Query {
  const query: Query = { words: [], filters: new Map() };
  for (const [part] of text.matchAll(/(?:[^\s"]+:)?"[^"]*"?|\S+/g)) {
    const colon = part.indexOf(":");
    const name = part.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = (colon > 0 ? part.slice(colon + 1) : part).replaceAll('"', "").toLowerCase();
    if (colon > 0 && known.includes(name)) {
      if (value !== "") query.filters.set(name, [...(query.filters.get(name) ?? []), value]);
    } else {
      const word = part.replaceAll('"', "").toLowerCase();
      if (word !== "") query.words.push(word);
    }
  }
  return query;
}

/** The text with that filter set to that value, or without it. */
export function withFilter(text: string, name: string, value: string | null): string {
  const parts = text.match(/(?:[^\s"]+:)?"[^"]*"?|\S+/g) ?? [];
  const rest = parts.filter((part) => !part.toLowerCase().startsWith(`${name}:`));
  if (value !== null) rest.push(`${name}:${/\s/.test(value) ? `"${value}"` : value}`);
  return rest.join(" ");
}

/** The newer API says where an exit is. */
export function countryOf(proxy: Proxy | null): string | null {
  const country: unknown = proxy ? Reflect.get(proxy.health, "country") : null;
  return typeof country === "string" && country !== "" ? country : null;
}

function valueOf(row: DeviceRow, filter: string): string {
  switch (filter) {
    case "state":
      return row.state;
    case "proxy":
      return row.proxy?.name ?? "none";
    case "health":
      return row.proxy?.health.status ?? "none";
    case "country":
      return countryOf(row.proxy) ?? "none";
    case "gateway":
      return row.client.gateway;
    default:
      return row.client.mac ? "yes" : "no";
  }
}

export function matches(row: DeviceRow, query: Query): boolean {
  if (!query.words.every((word) => row.words.includes(word))) return false;
  for (const [filter, wanted] of query.filters) {
    if (!wanted.includes(valueOf(row, filter).toLowerCase())) return false;
  }
  return true;
}

const STATES = { closed: 0, pending: 1, open: 2 };
const LAST = Number.MAX_SAFE_INTEGER;
const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

const COMPARE: Record<DeviceSort, (one: DeviceRow, other: DeviceRow) => number> = {
  name: (one, other) => words.compare(one.client.name, other.client.name),
  ip: (one, other) => ipNumber(one.ip) - ipNumber(other.ip),
  state: (one, other) => STATES[one.state] - STATES[other.state],
  proxy: (one, other) => words.compare(one.proxy?.name ?? "\uffff", other.proxy?.name ?? "\uffff"),
  latency: (one, other) => (one.proxy?.health.latency_ms ?? LAST) - (other.proxy?.health.latency_ms ?? LAST),
  changed: (one, other) => one.changed.localeCompare(other.changed),
};

/** "-changed": the other way round. */
export function sortRows(rows: DeviceRow[], sort: string): DeviceRow[] {
  const backwards = sort.startsWith("-");
  const key = DEVICE_SORTS.find((one) => one === sort.replace(/^-/, "")) ?? "name";
  const compare = COMPARE[key];
  const sorted = [...rows].sort((one, other) => compare(one, other) || ipNumber(one.ip) - ipNumber(other.ip));
  return backwards ? sorted.reverse() : sorted;
}
