// Mappings on their way: made one after the other, and watched until the gateway says what became
// of them.

import { ask } from "../api/call";
import { asProblem } from "../api/problem";
import type { Happening } from "../api/shapes";
import { each } from "../logic/acts";
import type { Chosen, Planned } from "../logic/mapping";
import { say } from "../logic/trouble";
import { live } from "./live.svelte";
import { world } from "./world.svelte";

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

  constructor() {
    live.hear((happening) => this.#hear(happening));
  }

  async make(plans: Planned[]): Promise<void> {
    this.all = plans.map((plan) => ({ plan, mapping: null, trouble: null, steps: [] }));
    this.#clients = new Map();
    this.#made = [];
    this.busy = true;
    const devices = [...new Map(plans.map((plan) => [plan.device.key, plan.device])).values()];
    // Of one device the list is made in its order; of several at the same time.
    await each(devices, (device) => this.#makeAll(device));
    this.busy = false;
  }

  /** What was made here, and nothing else. */
  async undo(): Promise<void> {
    this.busy = true;
    try {
      await each(this.all.filter((one) => one.mapping !== null), async (one) => {
        const id = one.mapping ?? "";
        await ask("DELETE /v1/mappings/{id}", { path: { id } });
        world.drop("mapping", id);
      });
      await each(this.#made, async (id) => {
        await ask("DELETE /v1/clients/{id}", { path: { id }, query: { cascade: true } });
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
        const mapping = await ask("POST /v1/mappings", { body: { client_id, proxy_id, priority } });
        world.putMapping(mapping);
        one.mapping = mapping.id;
        one.steps.push(mapping.reason);
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

  #hear({ kind, mapping_id, data }: Happening): void {
    const one = kind === "mapping.state" ? this.all.find((making) => making.mapping === mapping_id) : undefined;
    const step = typeof data.reason === "string" ? data.reason : "";
    if (one && step !== "" && one.steps.at(-1) !== step) one.steps.push(step);
  }
}

export const makings = new Makings();
