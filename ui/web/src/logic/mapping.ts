// Which mappings come of the devices and proxies that were chosen. Pure: nothing is asked here.

import type { Mapping } from "../api/shapes";

/** A device that is registered, or one that is to be. */
export interface Chosen {
  key: string;
  id: string | null;
  name: string;
  ip: string;
}

/** Those without a way out are who somebody comes for; the others stay in their order. */
export const neediestFirst = <Row extends { mappings: readonly unknown[] }>(rows: readonly Row[]): Row[] =>
  [...rows].sort((one, other) => Number(one.mappings.length > 0) - Number(other.mappings.length > 0));

export type Spread = "all" | "turns";

export interface Planned {
  device: Chosen;
  proxy: string;
  priority: number;
}

export function planned(devices: Chosen[], proxies: string[], spread: Spread, existing: readonly Mapping[]): Planned[] {
  if (proxies.length === 0) return [];
  return devices.flatMap((device, at) => {
    const has = device.id === null ? [] : existing.filter((mapping) => mapping.client_id === device.id);
    const turn = proxies[at % proxies.length];
    const wanted = (spread === "all" ? proxies : turn === undefined ? [] : [turn]).filter((proxy) => !has.some((mapping) => mapping.proxy_id === proxy));
    // Behind what the device has already: nobody's way is changed by a new one.
    const last = Math.max(0, ...has.map((mapping) => mapping.priority));
    return wanted.map((proxy, place) => ({ device, proxy, priority: last + (place + 1) * 10 }));
  });
}
