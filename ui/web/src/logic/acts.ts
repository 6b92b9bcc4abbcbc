// What an operator does with several things at once. Each of them is one call, and means the thing
// as it was shown.

import { ask } from "../api/call";
import { asProblem } from "../api/problem";
import type { Mapping } from "../api/shapes";
import { t } from "../state/language.svelte";
import { draft } from "../state/draft.svelte";
import { route } from "../state/route.svelte";
import { toasts } from "../state/toasts.svelte";
import { world } from "../state/world.svelte";
import type { DeviceRow } from "./devices";
import { ANYHOW, asSeen, toEach } from "./each";
import type { Chosen } from "./mapping";

async function change(mapping: Mapping, body: { enabled?: boolean; priority?: number; proxy_id?: string }, ifMatch: string): Promise<void> {
  world.putMapping(await ask("PATCH /v1/mappings/{id}", { path: { id: mapping.id }, body, ifMatch }));
}

/** Closed at once: this one waits for nobody who may change his mind, and for no change of anybody else. */
export function close(rows: DeviceRow[]): Promise<void> {
  const mappings = rows.flatMap((row) => row.mappings).filter((mapping) => mapping.enabled);
  return toEach(mappings, (mapping) => change(mapping, { enabled: false }, ANYHOW), t("acts.closed", { count: rows.length }));
}

/** To the page where they get a way out. */
export function map(rows: DeviceRow[]): void {
  draft.devices = rows.map((row) => row.id);
  route.go("/map");
}

/** Closed from then on, until somebody gives them a way out. */
export function register(devices: Chosen[]): Promise<void> {
  return toEach(devices, async ({ name, ip }) => world.putClient(await ask("POST /v1/clients", { body: { name, ip_cidr: ip } })), t("acts.registered", { count: devices.length }));
}

const nameOf = (rows: DeviceRow[]): string => (rows.length === 1 ? (rows[0]?.client.name ?? "") : t("devices.count", { count: rows.length }));

export function reopen(rows: DeviceRow[]): Promise<void> {
  const open = (mapping: Mapping, insists: boolean): Promise<void> => change(mapping, { enabled: true }, insists ? ANYHOW : asSeen(mapping));
  const mappings = rows.flatMap((row) => row.mappings).filter((mapping) => !mapping.enabled);
  return toEach(mappings, open, t("acts.reopened", { name: nameOf(rows) }));
}

async function checkOne(id: string): Promise<void> {
  const health = await ask("POST /v1/proxies/{id}/check", { path: { id } });
  const proxy = world.proxies.get(id);
  if (proxy) world.putProxy({ ...proxy, health });
}

export function check(proxies: string[]): Promise<void> {
  const different = [...new Set(proxies)];
  return toEach(different, checkOne, t("acts.checked", { count: different.length }));
}

/** Gone is gone, whoever has done it. What another gateway has to do first is still there. */
async function gone(removal: Promise<unknown>, drop: () => void): Promise<void> {
  try {
    if ((await removal) === undefined) drop();
  } catch (error) {
    if (asProblem(error).status !== 404) throw error;
    drop();
  }
}

export function removeDevices(rows: DeviceRow[]): void {
  const name = nameOf(rows);
  const clients = rows.map((row) => row.client);
  toasts.soon(t("acts.remove_device", { name }), clients.map((client) => client.id), (keepalive) =>
    toEach(clients, (client, insists) => {
      const { id } = client;
      const removal = ask("DELETE /v1/clients/{id}", { path: { id }, query: { cascade: true }, ifMatch: insists ? ANYHOW : asSeen(client), keepalive });
      return gone(removal, () => world.drop("client", id));
    }, null),
  );
}

export function removeProxies(proxies: { id: string; name: string; revision: number }[], cascade: boolean): void {
  const name = proxies.length === 1 ? (proxies[0]?.name ?? "") : t("proxies.count", { count: proxies.length });
  toasts.soon(t("acts.remove_proxy", { name }), proxies.map((proxy) => proxy.id), (keepalive) =>
    toEach(proxies, (proxy, insists) => {
      const { id } = proxy;
      const removal = ask("DELETE /v1/proxies/{id}", { path: { id }, query: { cascade: cascade || insists }, ifMatch: insists ? ANYHOW : asSeen(proxy), keepalive });
      return gone(removal, () => world.drop("proxy", id));
    }, null),
  );
}

export function removeMapping(mapping: Mapping, proxy: string): void {
  const { id } = mapping;
  toasts.soon(t("acts.remove_mapping", { name: proxy }), [id], (keepalive) =>
    toEach([mapping], (one, insists) => gone(ask("DELETE /v1/mappings/{id}", { path: { id }, ifMatch: insists ? ANYHOW : asSeen(one), keepalive }), () => world.drop("mapping", id)), null),
  );
}

/** In tens, so that something can be put in between by hand later on. */
export function prioritiesOf(order: Mapping[]): { mapping: Mapping; priority: number }[] {
  return order.map((mapping, at) => ({ mapping, priority: (at + 1) * 10 })).filter(({ mapping, priority }) => mapping.priority !== priority);
}

export function reorder(order: Mapping[]): Promise<void> {
  return toEach(prioritiesOf(order), ({ mapping, priority }, insists) => change(mapping, { priority }, insists ? ANYHOW : asSeen(mapping)), t("acts.reordered"));
}

/** Where it comes out now is where it is expected from now on. */
export function acceptExit(mapping: Mapping, exit_ip: string): Promise<void> {
  return toEach([mapping], async (one, insists) => {
    world.putMapping(await ask("PATCH /v1/mappings/{id}", { path: { id: one.id }, body: { stable_exit_ip: null }, ifMatch: insists ? ANYHOW : asSeen(one) }));
  }, t("acts.exit_accepted", { exit_ip }));
}

/** In the same place of each failover list. */
export function replaceEverywhere(mappings: Mapping[], proxy_id: string): Promise<void> {
  return toEach(mappings, (mapping, insists) => change(mapping, { proxy_id }, insists ? ANYHOW : asSeen(mapping)), t("acts.replaced", { count: mappings.length }));
}
