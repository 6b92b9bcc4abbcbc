// Devices, proxies and mappings as the API tells them, kept true by its events. Nothing is shown
// as done because it was asked for: a row changes when the API says so.

import { untrack } from "svelte";
import { ask, askAll } from "../api/call";
import { asProblem, type Problem } from "../api/problem";
import type { Client, Happening, HealthStatus, Mapping, MappingState, Proxy } from "../api/shapes";
import { rowsOf } from "../logic/devices";
import { groupBy } from "../logic/group";
import { withHealth } from "../logic/proxies";
import { live } from "./live.svelte";

const HEALTH_EVERY_MS = 15_000;

type ById<T> = ReadonlyMap<string, T>;
interface Things {
  client: Client;
  proxy: Proxy;
  mapping: Mapping;
}
type What = keyof Things;

const allProxies = (): Promise<Proxy[]> => askAll<Proxy>((cursor, limit) => ask("GET /v1/proxies", { query: { cursor, limit } }));

const byId = <T extends { id: string }>(items: T[]): ById<T> => new Map(items.map((item) => [item.id, item]));

function without<T>(map: ById<T>, id: string): ById<T> {
  const rest = new Map(map);
  rest.delete(id);
  return rest;
}

class World {
  clients = $state.raw<ById<Client>>(new Map());
  proxies = $state.raw<ById<Proxy>>(new Map());
  mappings = $state.raw<ById<Mapping>>(new Map());
  /** When all of it was read; null until then. */
  readAt = $state<number | null>(null);
  problem = $state.raw<Problem | null>(null);

  #healthAt = 0;

  rows = $derived(rowsOf(this.clients, this.mappings, this.proxies));
  #usedBy = $derived(groupBy(this.mappings.values(), (mapping) => mapping.proxy_id));

  usersOf(proxy: string): Mapping[] {
    return this.#usedBy.get(proxy) ?? [];
  }

  async readAll(): Promise<void> {
    try {
      const [clients, proxies, mappings] = await Promise.all([
        askAll<Client>((cursor, limit) => ask("GET /v1/clients", { query: { cursor, limit } })),
        allProxies(),
        askAll<Mapping>((cursor, limit) => ask("GET /v1/mappings", { query: { cursor, limit } })),
      ]);
      this.clients = byId(clients);
      this.proxies = byId(proxies);
      this.mappings = byId(mappings);
      this.readAt = this.#healthAt = Date.now();
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
      throw error;
    }
  }

  /** While somebody looks at health: a check that finds what is known already is no event. */
  watchHealth(): () => void {
    const look = (): void => {
      if (this.readAt === null || document.hidden || Date.now() - this.#healthAt < HEALTH_EVERY_MS) return;
      this.#healthAt = Date.now();
      allProxies()
        .then((proxies) => (this.proxies = withHealth(this.proxies, proxies)))
        .catch(() => undefined);
    };
    untrack(look);
    const timer = setInterval(look, HEALTH_EVERY_MS / 3);
    return () => clearInterval(timer);
  }

  forget(): void {
    this.clients = new Map();
    this.proxies = new Map();
    this.mappings = new Map();
    this.readAt = null;
  }

  putClient(client: Client): void {
    this.clients = new Map(this.clients).set(client.id, client);
  }

  putProxy(proxy: Proxy): void {
    this.proxies = new Map(this.proxies).set(proxy.id, proxy);
  }

  putMapping(mapping: Mapping): void {
    this.mappings = new Map(this.mappings).set(mapping.id, mapping);
  }

  drop(what: What, id: string): void {
    if (what === "client") this.clients = without(this.clients, id);
    else if (what === "proxy") this.proxies = without(this.proxies, id);
    else this.mappings = without(this.mappings, id);
  }

  hear(happening: Happening): void {
    const { kind, data, at } = happening;
    if (kind === "mapping.state") {
      const mapping = this.mappings.get(happening.mapping_id ?? "");
      if (!mapping) return this.#read("mapping", happening.mapping_id);
      // What was read later than this happened knows better.
      if (at < mapping.updated_at) return;
      const state = data.to as MappingState;
      const applied_at = state === "APPLIED" ? at : mapping.applied_at;
      this.putMapping({ ...mapping, state, reason: String(data.reason ?? ""), applied_at, updated_at: at });
    } else if (kind === "proxy.health") {
      const proxy = this.proxies.get(happening.proxy_id ?? "");
      if (!proxy) return this.#read("proxy", happening.proxy_id);
      const { latency_ms, exit_ip, country, error } = data as { latency_ms?: number; exit_ip?: string; country?: string; error?: string };
      const status = data.to as HealthStatus;
      this.putProxy({ ...proxy, health: { ...proxy.health, status, latency_ms, exit_ip, country, error, checked_at: at } });
    } else if (kind === "change") {
      this.#changed(happening);
    }
  }

  #changed({ data, client_id, proxy_id, mapping_id }: Happening): void {
    const id = data.what === "client" ? client_id : data.what === "proxy" ? proxy_id : mapping_id;
    if (data.what === "config") void this.readAll().catch(() => undefined);
    if (data.what !== "client" && data.what !== "proxy" && data.what !== "mapping") return;
    if (data.action === "deleted" && id) this.drop(data.what, id);
    else this.#read(data.what, id);
  }

  #read(what: What, id: string | null): void {
    if (id) void this.reread(what, id);
  }

  /** As it is now; null when it is gone, or cannot be asked for. */
  async reread<W extends What>(what: W, id: string): Promise<Things[W] | null> {
    const path = { id };
    try {
      if (what === "client") this.putClient(await ask("GET /v1/clients/{id}", { path }));
      else if (what === "proxy") this.putProxy(await ask("GET /v1/proxies/{id}", { path }));
      else this.putMapping(await ask("GET /v1/mappings/{id}", { path }));
    } catch (error) {
      if (asProblem(error).status === 404) this.drop(what, id);
    }
    return this.#of(what).get(id) ?? null;
  }

  #of<W extends What>(what: W): ById<Things[W]> {
    const all: { [Each in What]: ById<Things[Each]> } = { client: this.clients, proxy: this.proxies, mapping: this.mappings };
    return all[what];
  }
}

export const world = new World();

live.hear((happening) => world.hear(happening));
