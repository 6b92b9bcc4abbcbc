// What an operator does with several things at once. Each of them is one call; the first that is
// refused is told, and what was done before it stays done.

import { ask } from "../api/call";
import type { Mapping } from "../api/shapes";
import { t } from "../state/language.svelte";
import { draft } from "../state/draft.svelte";
import { route } from "../state/route.svelte";
import { toasts } from "../state/toasts.svelte";
import { world } from "../state/world.svelte";
import type { DeviceRow } from "./devices";

/** Calls at a time: the gateway writes one after the other anyway. */
const AT_ONCE = 6;

export async function each<T>(things: T[], act: (thing: T) => Promise<unknown>): Promise<void> {
  const rest = [...things];
  const worker = async (): Promise<void> => {
    for (let thing = rest.shift(); thing !== undefined; thing = rest.shift()) await act(thing);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, rest.length) }, worker));
}

async function tell(work: Promise<unknown>, done: string | null): Promise<void> {
  try {
    await work;
    if (done) toasts.done(done);
  } catch (error) {
    toasts.failed(error);
  }
}

export async function enable(mapping: Mapping, enabled: boolean): Promise<void> {
  world.putMapping(await ask("PATCH /v1/mappings/{id}", { path: { id: mapping.id }, body: { enabled } }));
}

/** Closed at once: this one waits for nobody who may change his mind. */
export function close(rows: DeviceRow[]): Promise<void> {
  const mappings = rows.flatMap((row) => row.mappings).filter((mapping) => mapping.enabled);
  return tell(each(mappings, (mapping) => enable(mapping, false)), t("acts.closed", { count: rows.length }));
}

/** To the page where they get a way out. */
export function map(rows: DeviceRow[]): void {
  draft.devices = rows.map((row) => row.id);
  route.go("/map");
}

export function reopen(row: DeviceRow): Promise<void> {
  return tell(each(row.mappings, (mapping) => enable(mapping, true)), t("acts.reopened", { name: row.client.name }));
}

async function checkOne(id: string): Promise<void> {
  const health = await ask("POST /v1/proxies/{id}/check", { path: { id } });
  const proxy = world.proxies.get(id);
  if (proxy) world.putProxy({ ...proxy, health });
}

export function check(proxies: string[]): Promise<void> {
  const different = [...new Set(proxies)];
  return tell(each(different, checkOne), t("acts.checked", { count: different.length }));
}

export function removeDevices(rows: DeviceRow[]): void {
  const ids = rows.map((row) => row.id);
  const name = rows.length === 1 ? (rows[0]?.client.name ?? "") : t("devices.count", { count: rows.length });
  toasts.soon(t("acts.remove_device", { name }), ids, async (closing) => {
    await each(ids, (id) => ask("DELETE /v1/clients/{id}", { path: { id }, query: { cascade: true }, keepalive: closing }));
    for (const id of ids) world.drop("client", id);
  });
}

export function removeProxies(proxies: { id: string; name: string }[], cascade: boolean): void {
  const ids = proxies.map((proxy) => proxy.id);
  const name = proxies.length === 1 ? (proxies[0]?.name ?? "") : t("proxies.count", { count: proxies.length });
  toasts.soon(t("acts.remove_proxy", { name }), ids, async (closing) => {
    await each(ids, (id) => ask("DELETE /v1/proxies/{id}", { path: { id }, query: { cascade }, keepalive: closing }));
    for (const id of ids) world.drop("proxy", id);
  });
}

export function removeMapping(mapping: Mapping, proxy: string): void {
  toasts.soon(t("acts.remove_mapping", { name: proxy }), [mapping.id], async (closing) => {
    await ask("DELETE /v1/mappings/{id}", { path: { id: mapping.id }, keepalive: closing });
    world.drop("mapping", mapping.id);
  });
}

/** In tens, so that something can be put in between by hand later on. */
export function prioritiesOf(order: Mapping[]): { mapping: Mapping; priority: number }[] {
  return order.map((mapping, at) => ({ mapping, priority: (at + 1) * 10 })).filter(({ mapping, priority }) => mapping.priority !== priority);
}

export function reorder(order: Mapping[]): Promise<void> {
  const work = each(prioritiesOf(order), async ({ mapping, priority }) => {
    world.putMapping(await ask("PATCH /v1/mappings/{id}", { path: { id: mapping.id }, body: { priority } }));
  });
  return tell(work, t("acts.reordered"));
}

export function replaceEverywhere(from: Mapping[], proxy_id: string): Promise<void> {
  const work = each(from, async (old) => {
    const { client_id, priority, target } = old;
    const made = await ask("POST /v1/mappings", { body: { client_id, proxy_id, priority, target } });
    world.putMapping(made);
    await ask("DELETE /v1/mappings/{id}", { path: { id: old.id } });
    world.drop("mapping", old.id);
  });
  return tell(work, t("acts.replaced", { count: from.length }));
}
