// Codes that are told once: kept until this tab is closed, so that whoever looks away still has them.

import { SvelteMap } from "svelte/reactivity";
import type { Verification } from "../api/shapes";

class Codes {
  #of = new SvelteMap<string, Verification>();

  keep(tunnel: string, verification: Verification): void {
    this.#of.set(tunnel, verification);
  }

  of(tunnel: string): Verification | null {
    return this.#of.get(tunnel) ?? null;
  }
}

export const codes = new Codes();
