// A configuration that was applied on trial goes back by itself. Whoever looks around meanwhile whether
// it is good can say so on any page.

import { ask } from "../api/call";
import type { ApplyRecord } from "../api/shapes";
import { live } from "./live.svelte";

class Trial {
  /** The one that waits, or that went back while somebody looked. */
  record = $state.raw<ApplyRecord | null>(null);

  async read(): Promise<void> {
    const { waiting, ended } = await ask("GET /v1/apply");
    const wentBack = ended?.state === "rolled_back" && ended.id === this.record?.id ? ended : null;
    this.record = waiting ?? wentBack;
  }

  async confirm({ id }: ApplyRecord): Promise<void> {
    await ask("POST /v1/apply/{id}/confirm", { path: { id } });
    this.record = null;
  }

  /** While somebody is signed in who may confirm it. */
  watch(): () => void {
    const look = (): void => void this.read().catch(() => undefined);
    look();
    return live.hear(({ kind, data }) => {
      if (kind === "change" && data.what === "config") look();
    });
  }
}

export const trial = new Trial();
