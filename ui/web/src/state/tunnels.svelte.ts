// Tunnels and their clients, while somebody looks at them: read when the page opens, kept true by
// events. What flows has no events, and is read anew every few seconds.

import { ask, askAll } from "../api/call";
import { asProblem, type Problem } from "../api/problem";
import type { Happening } from "../api/shapes";
import type { Tunnel, TunnelClient, TunnelState } from "../api/shapes";
import { live } from "./live.svelte";

const EVERY_MS = 3000;

export interface Flow {
  in_bps: number;
  out_bps: number;
}

class Tunnels {
  all = $state.raw<Tunnel[]>([]);
  clients = $state.raw<TunnelClient[]>([]);
  readAt = $state<number | null>(null);
  problem = $state.raw<Problem | null>(null);
  #flows = $state.raw<ReadonlyMap<string, Flow>>(new Map());
  #watchers = 0;

  of(id: string): Tunnel | null {
    return this.all.find((tunnel) => tunnel.id === id) ?? null;
  }

  clientOf(id: string): TunnelClient | null {
    return this.clients.find((client) => client.id === id) ?? null;
  }

  flowOf(id: string): Flow | null {
    return this.#flows.get(id) ?? null;
  }

  /** While somebody looks. Returns how to say that nobody does any more. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers > 1) return () => (this.#watchers -= 1);
    void this.read();
    const timer = setInterval(() => document.hidden || void this.read(), EVERY_MS);
    const quiet = live.hear((happening) => this.#hear(happening));
    return () => {
      this.#watchers -= 1;
      clearInterval(timer);
      quiet();
    };
  }

  async read(): Promise<void> {
    try {
      const [all, clients] = await Promise.all([
        askAll<Tunnel>((cursor, limit) => ask("GET /v1/tunnels", { query: { cursor, limit, sort: "name" } })),
        askAll<TunnelClient>((cursor, limit) => ask("GET /v1/tunnel-clients", { query: { cursor, limit, sort: "name" } })),
      ]);
      const now = Date.now();
      this.#flows = this.#flowsOf(all, now);
      this.all = all;
      this.clients = clients;
      this.readAt = now;
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }

  put(tunnel: Tunnel): void {
    this.all = this.all.some((one) => one.id === tunnel.id) ? this.all.map((one) => (one.id === tunnel.id ? tunnel : one)) : [...this.all, tunnel];
  }

  putClient(client: TunnelClient): void {
    this.clients = this.clients.some((one) => one.id === client.id) ? this.clients.map((one) => (one.id === client.id ? client : one)) : [...this.clients, client];
  }

  #flowsOf(all: Tunnel[], now: number): ReadonlyMap<string, Flow> {
    if (this.readAt === null) return new Map();
    const seconds = Math.max((now - this.readAt) / 1000, 0.1);
    // A client that came back counts from zero.
    const bps = (is: number, was: number): number => (Math.max(is - was, 0) * 8) / seconds;
    const before = new Map(this.all.map((tunnel) => [tunnel.id, tunnel]));
    return new Map(all.map((tunnel) => {
      const was = before.get(tunnel.id) ?? tunnel;
      return [tunnel.id, { in_bps: bps(tunnel.bytes_in, was.bytes_in), out_bps: bps(tunnel.bytes_out, was.bytes_out) }];
    }));
  }

  #hear({ kind, data, at }: Happening): void {
    if (kind === "tunnel.state") {
      const tunnel = this.of(String(data.tunnel_id));
      if (!tunnel) return void this.read();
      if (at < tunnel.updated_at) return;
      this.put({ ...tunnel, state: data.to as TunnelState, reason: data.reason === null ? null : String(data.reason ?? "") });
    } else if (kind === "tunnel.client" || (kind === "change" && (data.what === "tunnel" || data.what === "tunnel_client"))) {
      void this.read();
    }
  }
}

export const tunnels = new Tunnels();
