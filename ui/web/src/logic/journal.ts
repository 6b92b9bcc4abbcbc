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

export const KINDS = ["mapping.state", "client.exit", "proxy.health", "change", "forwarder", "agent", "drift", "drill", "gateway"] as const;

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
  detail: string;
}

const words = (value: Json | undefined): string => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

const TONES: Record<string, [Tone, IconName]> = {
  APPLIED: ["good", "open"],
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

export function sentenceOf({ kind, data, by }: Happening): Sentence {
  const values = Object.fromEntries(Object.entries(data).map(([name, value]) => [name, words(value)]));
  const look = (word: string): { tone: Tone; icon: IconName } => {
    const [tone, icon] = TONES[word] ?? ["idle", "journal"];
    return { tone, icon };
  };
  const say = (key: Key, word: string, detail: string): Sentence => ({ ...look(word), key, values: { ...values, by: by ?? "" }, detail });
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
      return { tone: "idle", icon: "journal", key: "journal.other", values: { kind }, detail: JSON.stringify(data) };
  }
}
