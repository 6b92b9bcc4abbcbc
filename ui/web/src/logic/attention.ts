// What needs somebody, the worst first, each with the next step.

import type { Problem } from "../api/problem";
import type { AgentStatus, Proxy, Ready } from "../api/shapes";
import type { Key } from "../state/language.svelte";
import type { DeviceRow } from "./devices";

export interface Concern {
  key: Key;
  values: Record<string, string | number>;
  detail: string;
  /** Where to go on, and what that is called. */
  link: string;
  next: Key;
  tone: "bad" | "wait";
}

/** So long a way out may take before somebody should look. */
const LONG_MS = 60_000;
/** Of one kind; the rest is counted. */
const MOST = 3;

interface Seen {
  rows: DeviceRow[];
  now: number;
  proxies: Proxy[];
  agent: AgentStatus | null;
  agentTrouble: Problem | null;
  ready: Ready | null;
  usersOf: (proxy: string) => number;
}

/** Closed although nothing is wrong with its proxies: a condition that is not met, or a step that fails. */
function isStuck({ state, mappings, changed }: DeviceRow, works: (proxy: string) => boolean, now: number): boolean {
  if (!mappings.some((mapping) => mapping.enabled && works(mapping.proxy_id))) return false;
  return state === "closed" || (state === "pending" && now - Date.parse(changed) > LONG_MS);
}

export function concerns({ rows, now, proxies, agent, agentTrouble, ready, usersOf }: Seen): Concern[] {
  const all: Concern[] = [];
  const add = (tone: Concern["tone"], key: Key, values: Concern["values"], detail: string, link: string, next: Key): void => {
    all.push({ tone, key, values, detail, link, next });
  };
  if (agent?.drill.outcome === "leaked") add("bad", "attention.leaked", {}, agent.drill.detail, "/firewall", "attention.see_firewall");
  if (agentTrouble) add("bad", "attention.agent_silent", {}, agentTrouble.detail, "/firewall", "attention.see_firewall");
  if (agent?.last_error) add("bad", "attention.agent_error", {}, agent.last_error, "/firewall", "attention.see_firewall");
  for (const check of ready?.checks ?? []) {
    if (!check.ok && !(check.name === "agent" && agentTrouble)) add("bad", "attention.not_ready", { name: check.name }, check.detail, "/settings", "attention.see_settings");
  }
  if (agent?.drift.fighting) add("bad", "attention.fighting", {}, agent.drift.last_by ?? "", "/firewall", "attention.see_firewall");
  const down = proxies.filter((proxy) => proxy.enabled && proxy.health.status === "DOWN" && usersOf(proxy.id) > 0);
  for (const proxy of down.slice(0, MOST)) {
    add("bad", "attention.proxy_down", { name: proxy.name, count: usersOf(proxy.id) }, proxy.health.error ?? "", `/proxies/${proxy.id}`, "attention.replace");
  }
  if (down.length > MOST) add("bad", "attention.more_down", { count: down.length - MOST }, "", "/proxies?q=health:down", "attention.see_proxies");
  const working = new Set(proxies.filter((proxy) => proxy.enabled && (proxy.health.status === "OK" || proxy.health.status === "DEGRADED")).map((proxy) => proxy.id));
  const stuck = rows.filter((row) => isStuck(row, (proxy) => working.has(proxy), now));
  for (const { id, client, reason } of stuck.slice(0, MOST)) add("bad", "attention.stuck", { name: client.name }, reason, `/devices/${id}`, "attention.see_why");
  if (stuck.length > MOST) add("bad", "attention.more_stuck", { count: stuck.length - MOST }, "", "/devices?q=state:closed", "attention.see_devices");
  const unmapped = rows.filter((row) => row.mappings.length === 0);
  if (unmapped.length > 0) add("wait", "attention.unmapped", { count: unmapped.length }, "", "/devices?q=proxy:none", "attention.map");
  for (const warning of agent?.warnings ?? []) add("wait", "attention.agent_warns", {}, warning, "/firewall", "attention.see_firewall");
  return all;
}
