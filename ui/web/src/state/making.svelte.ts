// Mappings on their way: made one after the other, and watched until the gateway says what became
// of them.

import { ask } from "../api/call";
import { asProblem } from "../api/problem";
import type { Happening } from "../api/shapes";
import { asSeen, ANYHOW, each } from "../logic/each";
import { type Conditions, toldOfNew, UNCONDITIONAL } from "../logic/conditions";
import type { Chosen, Planned } from "../logic/mapping";
import { say } from "../logic/trouble";
import { live } from "./live.svelte";
import { world } from "./world.svelte";

const EVERY_MS = 700;

export interface Making {
  plan: Planned;
  mapping: string | null;
  trouble: string | null;
  /** What was said of it on its way, oldest first. */
  steps: string[];
}

class Makings {
  all = $state<Making[]>([]);
  busy = $state(false);
  #clients = new Map<string, string>();
  #made: string[] = [];
  #under = toldOfNew(UNCONDITIONAL);

  constructor() {
    live.hear((happening) => this.#hear(happening));
  }

  async make(plans: Planned[], conditions: Conditions): Promise<void> {
    this.all = plans.map((plan) => ({ plan, mapping: null, trouble: null, steps: [] }));
    this.#clients = new Map();
    this.#made = [];
    this.#under = toldOfNew(conditions);
    this.busy = true;
    const devices = [...new Map(plans.map((plan) => [plan.device.key, plan.device])).values()];
    // Of one device the list is made in its order; of several at the same time.
    await each(devices, (device) => this.#makeAll(device));
    this.busy = false;
  }

  /** What was made here, and nothing else. */
  async undo(insists: boolean): Promise<void> {
    this.busy = true;
    try {
      await each(this.all.filter((one) => one.mapping !== null), async (one) => {
        const mapping = world.mappings.get(one.mapping ?? "");
        if (!mapping) return;
        await ask("DELETE /v1/mappings/{id}", { path: { id: mapping.id }, ifMatch: insists ? ANYHOW : asSeen(mapping) });
        world.drop("mapping", mapping.id);
      });
      await each(this.#made, async (id) => {
        const client = world.clients.get(id);
        if (!client) return;
        await ask("DELETE /v1/clients/{id}", { path: { id }, query: { cascade: true }, ifMatch: insists ? ANYHOW : asSeen(client) });
        world.drop("client", id);
      });
      this.all = [];
    } finally {
      this.busy = false;
    }
  }

  async #makeAll(device: Chosen): Promise<void> {
    for (const one of this.all.filter((making) => making.plan.device.key === device.key)) {
      try {
        const client_id = await this.#clientOf(device);
        const { proxy: proxy_id, priority } = one.plan;
        const mapping = await ask("POST /v1/mappings", { body: { client_id, proxy_id, priority, ...this.#under } });
        one.mapping = mapping.id;
        one.steps.push(mapping.reason);
        // An event may have been faster than the answer, and knows better.
        if (!world.mappings.has(mapping.id)) world.putMapping(mapping);
      } catch (error) {
        const problem = asProblem(error);
        one.trouble = problem.beside([]) ?? say(problem);
      }
    }
  }

  async #clientOf(device: Chosen): Promise<string> {
    const known = device.id ?? this.#clients.get(device.key);
    if (known) return known;
    const client = await ask("POST /v1/clients", { body: { name: device.name, ip_cidr: device.ip } });
    world.putClient(client);
    this.#clients.set(device.key, client.id);
    this.#made.push(client.id);
    return client.id;
  }

  /** Of states there are events; what is waited for in between has to be asked for, while somebody looks. */
  watch(): () => void {
    const timer = setInterval(() => document.hidden || this.#look(), EVERY_MS);
    return () => clearInterval(timer);
  }

  #look(): void {
    for (const { mapping } of this.all) {
      if (mapping === null || world.mappings.get(mapping)?.state !== "PENDING") continue;
      void world.reread("mapping", mapping).then((now) => now && this.#note(now.id, now.reason));
    }
  }

  #hear({ kind, mapping_id, data }: Happening): void {
    if (kind === "mapping.state" && mapping_id && typeof data.reason === "string") this.#note(mapping_id, data.reason);
  }

  #note(mapping: string, step: string): void {
    const one = this.all.find((making) => making.mapping === mapping);
    if (one && step !== "" && one.steps.at(-1) !== step) one.steps.push(step);
  }
}

export const makings = new Makings();
