// A device as the table shows it: what its mappings add up to.

import type { Client, Mapping, Proxy } from "../api/shapes";
import { groupBy } from "./group";

export type DeviceState = "open" | "pending" | "closed";

export interface DeviceRow {
  id: string;
  client: Client;
  ip: string;
  /** In failover order. */
  mappings: Mapping[];
  state: DeviceState;
  /** By which it leaves now; without it the device is closed. */
  way: Mapping | null;
  /** Of that way, or of the first one that there could be. */
  proxy: Proxy | null;
  reason: string;
  changed: string;
  /** In lower case, for the search. */
  words: string;
}

type ById<T> = ReadonlyMap<string, T>;

export const bareIp = (cidr: string): string => cidr.replace(/\/32$/, "");

/** Sorts as people count: .9 before .10. */
export function ipNumber(ip: string): number {
  return ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export const inOrder = (one: Mapping, other: Mapping): number =>
  one.priority - other.priority || one.created_at.localeCompare(other.created_at) || one.id.localeCompare(other.id);

function rowOf(client: Client, mappings: Mapping[], proxies: ById<Proxy>): DeviceRow {
  const way = mappings.find((mapping) => mapping.state === "APPLIED") ?? null;
  const waits = mappings.find((mapping) => mapping.enabled && mapping.state === "PENDING") ?? null;
  const shown = way ?? waits ?? mappings.find((mapping) => mapping.enabled) ?? mappings[0] ?? null;
  const proxy = (shown && proxies.get(shown.proxy_id)) ?? null;
  const ip = bareIp(client.ip_cidr);
  const names = mappings.map((mapping) => proxies.get(mapping.proxy_id)?.name ?? "");
  return {
    id: client.id,
    client,
    ip,
    mappings,
    state: way ? "open" : waits ? "pending" : "closed",
    way,
    proxy,
    reason: shown?.reason ?? "",
    changed: shown && shown.updated_at > client.updated_at ? shown.updated_at : client.updated_at,
    words: [client.name, ip, client.mac ?? "", client.note, ...names, proxy?.health.exit_ip ?? ""].join(" ").toLowerCase(),
  };
}

export function rowsOf(clients: ById<Client>, mappings: ById<Mapping>, proxies: ById<Proxy>): DeviceRow[] {
  const of = groupBy(mappings.values(), (mapping) => mapping.client_id);
  return [...clients.values()].map((client) => rowOf(client, (of.get(client.id) ?? []).sort(inOrder), proxies));
}
