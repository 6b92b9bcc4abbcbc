// What flows at this moment. There are no events for it: it is asked for while somebody looks.

import { ask } from "../api/call";
import type { ClientNow, Now } from "../api/shapes";

const EVERY_MS = 3000;

class Flow {
  now = $state.raw<Now | null>(null);
  #clients = $derived(new Map(this.now?.clients.map((one) => [one.client_id, one])));
  #watchers = 0;

  of(client: string): ClientNow | null {
    return this.#clients.get(client) ?? null;
  }

  /** While somebody looks. Returns how to say that nobody does any more. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers === 1) void this.#run();
    return () => (this.#watchers -= 1);
  }

  async #run(): Promise<void> {
    while (this.#watchers > 0) {
      if (!document.hidden) this.now = await ask("GET /v1/telemetry/now").catch(() => null);
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }
}

export const flow = new Flow();
