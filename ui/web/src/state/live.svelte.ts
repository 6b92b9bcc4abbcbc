// The stream of events: kept open, resumed where it broke off, and never silently lost.

import { request } from "../api/call";
import type { Happening } from "../api/shapes";
import { read } from "../api/stream";
import { access } from "./access.svelte";

/** The server says something at least every 15 s. */
const SILENCE_MS = 35_000;
const SHORTEST_MS = 500;
/** A browser has six connections to a gateway; pages that nobody looks at are to leave them to others. */
const UNSEEN_MS = 60_000;
const LONGEST_MS = 15_000;

type Listener = (happening: Happening) => void;

const seen = (): Promise<void> =>
  new Promise((done) => {
    if (!document.hidden) return done();
    document.addEventListener("visibilitychange", () => done(), { once: true });
  });

class Live {
  /** null while nobody is signed in. */
  connected = $state<boolean | null>(null);
  gateway = $state("");
  #after = 0;
  #listeners = new Set<Listener>();
  #stop: AbortController | null = null;
  /** It was let go because nobody looked: no loss, and resumed as soon as somebody does. */
  #sleeps = false;

  hear(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `reload` is called whenever events may have been missed, and first of all at the start. */
  async run(reload: () => Promise<void>): Promise<void> {
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    let wait = SHORTEST_MS;
    while (!stop.signal.aborted) {
      await seen();
      this.#sleeps = false;
      try {
        await this.#follow(stop.signal, reload, () => (wait = SHORTEST_MS));
      } catch {
        // Why does not matter: it is tried again, and the lists, which are read instead, say what is wrong.
        if (!stop.signal.aborted && !this.#sleeps) await reload().catch(() => undefined);
      }
      if (stop.signal.aborted) return;
      if (this.#sleeps) continue;
      this.connected = false;
      await new Promise((done) => setTimeout(done, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(wait * 2, LONGEST_MS);
    }
  }

  end(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.connected = null;
    this.#after = 0;
  }

  async #follow(stop: AbortSignal, reload: () => Promise<void>, worked: () => void): Promise<void> {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    const signal = AbortSignal.any([stop, silent.signal]);
    let unseen: ReturnType<typeof setTimeout> | undefined;
    const looked = (): void => {
      clearTimeout(unseen);
      if (document.hidden) unseen = setTimeout(() => ((this.#sleeps = true), silent.abort()), UNSEEN_MS);
    };
    document.addEventListener("visibilitychange", looked);
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
    };
    try {
      const [, { headers }] = request("GET /v1/me", {});
      const asked = access.number;
      const response = await fetch(`/api/v1/events${this.#after > 0 ? `?after=${this.#after}` : ""}`, { headers, signal });
      if (response.status === 401) return await access.renewed(asked);
      if (!response.ok || !response.body) throw new Error(String(response.status));
      // Whoever resumes has missed nothing; whoever begins reads the lists behind the first event.
      if (this.#after === 0) await reload();
      this.connected = true;
      worked();
      await read(response.body, alive, (message) => this.#take(message.event, message.id, message.data, reload));
    } finally {
      document.removeEventListener("visibilitychange", looked);
      clearTimeout(unseen);
      clearTimeout(timer);
    }
  }

  #take(event: string, id: string, data: string, reload: () => Promise<void>): void {
    const body: unknown = JSON.parse(data);
    if (event === "hello") {
      const { id: latest, gateway } = body as { id: number; gateway: string };
      this.gateway = gateway ?? "";
      this.#after = Math.max(this.#after, latest ?? 0);
      return;
    }
    if (event === "gap") {
      void reload();
      return;
    }
    if (id !== "") this.#after = Number(id);
    for (const listener of this.#listeners) listener(body as Happening);
  }
}

export const live = new Live();
