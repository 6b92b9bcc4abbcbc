// Where one can go: the navigation, its keys, and which page an address means.

import type { Component } from "svelte";
import type { IconName } from "../parts/Icon.svelte";
import type { Key } from "../state/language.svelte";

export interface Place {
  path: string;
  name: Key;
  icon: IconName;
  /** Typed after "g". */
  key: string;
  load: () => Promise<{ default: Component }>;
}

export const PLACES: Place[] = [
  { path: "/", name: "nav.overview", icon: "overview", key: "o", load: () => import("../pages/Overview.svelte") },
  { path: "/devices", name: "nav.devices", icon: "devices", key: "d", load: () => import("../pages/Devices.svelte") },
  { path: "/proxies", name: "nav.proxies", icon: "proxies", key: "p", load: () => import("../pages/Proxies.svelte") },
  { path: "/map", name: "nav.map", icon: "map", key: "m", load: () => import("../pages/Map.svelte") },
  { path: "/tunnels", name: "nav.tunnels", icon: "tunnels", key: "t", load: () => import("../pages/Tunnels.svelte") },
  { path: "/connections", name: "nav.connections", icon: "connections", key: "c", load: () => import("../pages/Connections.svelte") },
  { path: "/firewall", name: "nav.firewall", icon: "firewall", key: "f", load: () => import("../pages/Firewall.svelte") },
  { path: "/journal", name: "nav.journal", icon: "journal", key: "j", load: () => import("../pages/Journal.svelte") },
  { path: "/settings", name: "nav.settings", icon: "settings", key: "s", load: () => import("../pages/Settings.svelte") },
];

/** A page has the addresses below it as well: /devices/{id}. */
export function placeOf(path: string): Place | null {
  const first = `/${path.split("/")[1] ?? ""}`;
  return PLACES.find((place) => place.path === first) ?? null;
}
