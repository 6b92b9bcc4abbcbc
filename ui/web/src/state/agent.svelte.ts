// How the agent is. What changes there is told by events; the rest is asked for now and then.

import { ask } from "../api/call";
import { asProblem, type Problem } from "../api/problem";
import type { AgentStatus, Ready } from "../api/shapes";
import { live } from "./live.svelte";

const EVERY_MS = 20_000;
const TELLING = ["agent", "drift", "drill"];

class Agent {
  status = $state.raw<AgentStatus | null>(null);
  problem = $state.raw<Problem | null>(null);
  ready = $state.raw<Ready | null>(null);

  async read(): Promise<void> {
    const [status, ready] = await Promise.allSettled([ask("GET /agent/status"), readiness()]);
    this.status = status.status === "fulfilled" ? status.value : null;
    this.problem = status.status === "fulfilled" ? null : asProblem(status.reason);
    this.ready = ready.status === "fulfilled" ? ready.value : null;
  }

  /** While somebody looks. */
  watch(): () => void {
    void this.read();
    const timer = setInterval(() => document.hidden || void this.read(), EVERY_MS);
    const quiet = live.hear(({ kind }) => {
      if (TELLING.includes(kind)) void this.read();
    });
    return () => (clearInterval(timer), quiet());
  }
}

/** "Not ready" is an answer as well, with the same body. */
async function readiness(): Promise<Ready> {
  const response = await fetch("/api/readyz");
  return (await response.json()) as Ready;
}

export const agent = new Agent();
