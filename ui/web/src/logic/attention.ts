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

interface Seen {
  rows: DeviceRow[];
  proxies: Proxy[];
  agent: AgentStatus | null;
  agentTrouble: Problem | null;
  ready: Ready | null;
  usersOf: (proxy: string) => number;
}

export function concerns({ rows, proxies, agent, agentTrouble, ready, usersOf }: Seen): Concern[] {
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
  for (const proxy of down.slice(0, 3)) {
    add("bad", "attention.proxy_down", { name: proxy.name, count: usersOf(proxy.id) }, proxy.health.error ?? "", `/proxies/${proxy.id}`, "attention.replace");
  }
  if (down.length > 3) add("bad", "attention.more_down", { count: down.length - 3 }, "", "/proxies?q=health:down", "attention.see_proxies");
  const unmapped = rows.filter((row) => row.mappings.length === 0);
  if (unmapped.length > 0) add("wait", "attention.unmapped", { count: unmapped.length }, "", "/devices?q=proxy:none", "attention.map");
  for (const warning of agent?.warnings ?? []) add("wait", "attention.agent_warns", {}, warning, "/firewall", "attention.see_firewall");
  return all;
}
