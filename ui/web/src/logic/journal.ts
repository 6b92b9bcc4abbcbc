// Entries of the event log as sentences.

import type { Happening, Json } from "../api/shapes";
import type { IconName } from "../parts/Icon.svelte";
import type { Tone } from "../parts/Badge.svelte";
import type { Key } from "../state/language.svelte";

export interface JournalQuery {
  client_id?: string;
  proxy_id?: string;
  kind?: string;
  by?: string;
  from?: string;
  to?: string;
}

export const KINDS = ["mapping.state", "client.exit", "proxy.health", "change", "forwarder", "agent", "drift", "drill", "gateway", "tunnel.state", "tunnel.client"] as const;

/** Does what happens just now belong into what is shown? */
export function fits(happening: Happening, query: JournalQuery): boolean {
  if (query.client_id && happening.client_id !== query.client_id) return false;
  if (query.proxy_id && happening.proxy_id !== query.proxy_id) return false;
  if (query.by && happening.by !== query.by) return false;
  if (query.to) return false;
  return !query.kind || query.kind.split(",").includes(happening.kind);
}

export interface Sentence {
  tone: Tone;
  icon: IconName;
  key: Key;
  values: Record<string, string | number>;
  /** Values that are words of the reader's language. */
  words: Record<string, Key>;
  detail: string;
}

const THINGS: Record<string, Key> = {
  client: "journal.thing.client",
  config: "journal.thing.config",
  mapping: "journal.thing.mapping",
  proxy: "journal.thing.proxy",
  token: "journal.thing.token",
  tunnel: "journal.thing.tunnel",
  tunnel_client: "journal.thing.tunnel_client",
  user: "journal.thing.user",
  webhook: "journal.thing.webhook",
};
const ACTIONS: Record<string, Key> = {
  created: "journal.action.created",
  updated: "journal.action.updated",
  deleted: "journal.action.deleted",
  revoked: "journal.action.revoked",
  applied: "journal.action.applied",
  rolled_back: "journal.action.rolled_back",
};
const STATES: Record<string, Key> = {
  APPLIED: "state.APPLIED",
  PENDING: "state.PENDING",
  FAILED: "state.FAILED",
  OK: "state.OK",
  DEGRADED: "state.DEGRADED",
  DOWN: "state.DOWN",
  UNKNOWN: "state.UNKNOWN",
  ACTIVE: "state.ACTIVE",
  OFFLINE: "state.OFFLINE",
  online: "state.online",
  offline: "state.offline",
  answers: "journal.state.answers",
  silent: "journal.state.silent",
  warns: "journal.state.warns",
  started: "journal.state.started",
  ready: "journal.state.ready",
  stopped: "journal.state.stopped",
  died: "journal.state.died",
};

const words = (value: Json | undefined): string => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

const TONES: Record<string, [Tone, IconName]> = {
  APPLIED: ["good", "open"],
  ACTIVE: ["good", "open"],
  online: ["good", "open"],
  OFFLINE: ["idle", "closed"],
  offline: ["idle", "closed"],
  OK: ["good", "open"],
  answers: ["good", "open"],
  ready: ["good", "open"],
  PENDING: ["wait", "pending"],
  DEGRADED: ["wait", "warn"],
  warns: ["wait", "warn"],
  FAILED: ["bad", "closed"],
  DOWN: ["bad", "close"],
  silent: ["bad", "warn"],
  died: ["bad", "warn"],
};

/** `nameOf` knows devices by id, for entries that do not name theirs. */
export function sentenceOf({ kind, data, by, client_id }: Happening, nameOf: (client: string) => string | undefined): Sentence {
  const values = Object.fromEntries(Object.entries(data).map(([name, value]) => [name, words(value)]));
  values.client ??= (client_id && nameOf(client_id)) || "?";
  const known = (name: string, keys: Record<string, Key>): [string, Key][] => {
    const key = keys[values[name] ?? ""];
    return key ? [[name, key]] : [];
  };
  const said = Object.fromEntries([...known("what", THINGS), ...known("action", ACTIONS), ...["from", "to", "state"].flatMap((name) => known(name, STATES))]);
  const look = (word: string): { tone: Tone; icon: IconName } => {
    const [tone, icon] = TONES[word] ?? ["idle", "journal"];
    return { tone, icon };
  };
  const say = (key: Key, word: string, detail: string): Sentence => ({ ...look(word), key, values: { ...values, by: by ?? "" }, words: said, detail });
  const of = (name: string): string => values[name] ?? "";
  switch (kind) {
    case "mapping.state":
      return say("journal.mapping", of("to"), of("reason"));
    case "client.exit":
      return data.open === true ? say("journal.exit_open", "APPLIED", [of("exit_ip"), of("country")].filter(Boolean).join(" ")) : say("journal.exit_closed", "FAILED", of("reason"));
    case "proxy.health":
      return say("journal.health", of("to"), of("error") || of("exit_ip"));
    case "forwarder":
      return say("journal.forwarder", of("state"), of("detail"));
    case "tunnel.state":
      return say("journal.tunnel", of("to"), of("reason"));
    case "tunnel.client":
      return say("journal.tunnel_client", of("state"), of("reason") || of("address"));
    case "agent":
      return say("journal.agent", of("state"), of("detail"));
    case "gateway":
      return say("journal.gateway", of("state"), "");
    case "drift":
      return { ...say("journal.drift", "warns", of("detail")) };
    case "drill":
      return data.closed === true ? say("journal.drill_closed", "OK", of("detail")) : say("journal.drill_other", "DOWN", of("detail"));
    case "change":
      return { ...say(by ? "journal.change_by" : "journal.change", "", Array.isArray(data.fields) ? data.fields.map(words).join(", ") : ""), icon: "edit" };
    default:
      return { tone: "idle", icon: "journal", key: "journal.other", values: { kind }, words: {}, detail: JSON.stringify(data) };
  }
}
