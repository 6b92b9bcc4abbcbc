// A list that only one page needs: read when it opens, and again when somebody changes it.

import { asProblem, type Problem } from "../api/problem";
import { live } from "./live.svelte";

export class Listing<T extends { id: string }> {
  items = $state.raw<T[] | null>(null);
  problem = $state.raw<Problem | null>(null);
  #read: () => Promise<T[]>;

  /** `what` is how a change of it is called in the events. */
  constructor(what: string, read: () => Promise<T[]>) {
    this.#read = read;
    $effect(() => {
      void this.read();
      return live.hear(({ kind, data }) => {
        if (kind === "change" && data.what === what) void this.read();
      });
    });
  }

  async read(): Promise<void> {
    try {
      this.items = await this.#read();
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }
}
