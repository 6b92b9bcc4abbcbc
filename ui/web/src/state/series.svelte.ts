// Small histories for the tables: asked for only where a row is seen, a few at a time, and anew each
// minute for as long as it is.

import { untrack } from "svelte";
import { SvelteMap } from "svelte/reactivity";
import { ask } from "../api/call";

const AT_ONCE = 4;
const FRESH_MS = 60_000;
const GLANCE_MS = 5000;

export type Values = (number | null)[];

interface Kept {
  at: number;
  values: Values;
}

class Series {
  #kept = new SvelteMap<string, Kept>();
  /** By how many rows each is seen. */
  #seen = new Map<string, number>();
  #queue: string[] = [];
  #loading = new Set<string>();

  constructor() {
    setInterval(() => document.hidden || this.#seen.forEach((_, key) => this.#ask(key)), GLANCE_MS);
  }

  /** What is known; more is asked for by `want`. */
  of(key: string): Values {
    return this.#kept.get(key)?.values ?? [];
  }

  /** While a row is seen. Returns how to say that it no longer is. */
  want(key: string): () => void {
    this.#seen.set(key, (this.#seen.get(key) ?? 0) + 1);
    // Who waits is not to begin anew with every answer for somebody else.
    untrack(() => this.#ask(key));
    return () => {
      const others = (this.#seen.get(key) ?? 1) - 1;
      if (others > 0) return void this.#seen.set(key, others);
      this.#seen.delete(key);
      this.#queue = this.#queue.filter((one) => one !== key);
    };
  }

  #ask(key: string): void {
    const kept = this.#kept.get(key);
    const isFresh = kept !== undefined && Date.now() - kept.at <= FRESH_MS;
    if (!isFresh && !this.#queue.includes(key) && !this.#loading.has(key)) this.#queue.push(key);
    this.#next();
  }

  #next(): void {
    // The last one that came into sight is the one that is looked at.
    while (this.#loading.size < AT_ONCE) {
      const key = this.#queue.pop();
      if (key === undefined) return;
      this.#loading.add(key);
      load(key)
        .then((values) => this.#kept.set(key, { at: Date.now(), values }))
        .catch(() => this.#kept.set(key, { at: Date.now(), values: [] }))
        .finally(() => {
          this.#loading.delete(key);
          this.#next();
        });
    }
  }
}

async function load(key: string): Promise<Values> {
  const [what, id = ""] = key.split("/");
  if (what === "latency") {
    const { points } = await ask("GET /v1/telemetry/health", { query: { proxy_id: id, window: "1h" } });
    return points.map((point) => point.latency_ms ?? null);
  }
  const { points } = await ask("GET /v1/telemetry/traffic", { query: { client_id: id, window: "1h" } });
  return points.map((point) => point.bytes_up + point.bytes_down);
}

export const series = new Series();
