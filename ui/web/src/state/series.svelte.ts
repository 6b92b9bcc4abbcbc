// Small histories for the tables: asked for only where a row is seen, a few at a time, and kept for
// a minute.

import { untrack } from "svelte";
import { SvelteMap } from "svelte/reactivity";
import { ask } from "../api/call";

const AT_ONCE = 4;
const FRESH_MS = 60_000;

export type Values = (number | null)[];

interface Kept {
  at: number;
  values: Values;
}

class Series {
  #kept = new SvelteMap<string, Kept>();
  #queue: string[] = [];
  #running = 0;

  /** What is known; more is asked for by `want`. */
  of(key: string): Values {
    return this.#kept.get(key)?.values ?? [];
  }

  /** While a row is seen. Returns how to say that it no longer is. */
  want(key: string): () => void {
    // Who waits is not to begin anew with every answer for somebody else.
    const kept = untrack(() => this.#kept.get(key));
    if ((!kept || Date.now() - kept.at > FRESH_MS) && !this.#queue.includes(key)) this.#queue.push(key);
    this.#next();
    return () => (this.#queue = this.#queue.filter((one) => one !== key));
  }

  #next(): void {
    // The last one that came into sight is the one that is looked at.
    while (this.#running < AT_ONCE) {
      const key = this.#queue.pop();
      if (key === undefined) return;
      this.#running += 1;
      load(key)
        .then((values) => this.#kept.set(key, { at: Date.now(), values }))
        .catch(() => this.#kept.set(key, { at: Date.now(), values: [] }))
        .finally(() => {
          this.#running -= 1;
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
