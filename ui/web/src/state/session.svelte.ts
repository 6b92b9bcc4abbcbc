// From opening the page to being somebody: first run, login, and what is kept going meanwhile.

import { ask } from "../api/call";
import type { Me, SetupState } from "../api/shapes";
import { asProblem, Problem, problemOf } from "../api/problem";
import { access } from "./access.svelte";
import { live } from "./live.svelte";
import { toasts } from "./toasts.svelte";
import { world } from "./world.svelte";

type Stage = "asking" | "setup" | "login" | "in";

class Session {
  stage = $state<Stage>("asking");
  me = $state.raw<Me | null>(null);
  problem = $state.raw<Problem | null>(null);
  /** There is no user, and nobody may make the first one any more without a token. */
  setupClosed = $state(false);

  mayWrite = $derived(this.me?.role === "admin" || this.me?.role === "operator");
  isAdmin = $derived(this.me?.role === "admin");

  async begin(): Promise<void> {
    this.stage = "asking";
    this.problem = null;
    try {
      // Asked in a way that fails for nobody: browsers print what does.
      const { needed, until, signed_in } = await this.#get<SetupState>("/api/v1/setup");
      if (signed_in || access.byToken) return await this.#enter();
      this.setupClosed = needed && !until;
      this.stage = needed && until ? "setup" : "login";
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status !== 401) this.problem = problem;
      else this.#forgetToken();
    }
  }

  async login(name: string, password: string): Promise<void> {
    access.useToken(null);
    await ask("POST /v1/login", { body: { name, password } });
    await this.#enter();
  }

  async useToken(token: string): Promise<void> {
    access.useToken(token);
    try {
      await this.#enter();
    } catch (error) {
      access.useToken(null);
      throw error;
    }
  }

  async setup(name: string, password: string): Promise<void> {
    access.useToken(null);
    await ask("POST /v1/setup", { body: { name, password } });
    await this.#enter();
  }

  async logout(): Promise<void> {
    await toasts.settle();
    live.end();
    if (!access.byToken) await ask("POST /v1/logout").catch(() => undefined);
    access.useToken(null);
    world.forget();
    this.me = null;
    this.stage = "login";
  }

  async #enter(): Promise<void> {
    const first = this.stage !== "in";
    this.me = await this.#get<Me>("/api/v1/me");
    this.stage = "in";
    access.signedIn();
    if (first) void live.run(() => world.readAll());
  }

  /** Not by `ask`, which would wait for somebody to sign in: this is signing in. */
  async #get<T>(path: string): Promise<T> {
    const silence = (): never => {
      throw new Problem(0, "no_answer", "no_answer");
    };
    const response = await fetch(path, { headers: access.headers() }).catch(silence);
    const text = await response.text().catch(silence);
    if (!response.ok) throw problemOf(response, text);
    return JSON.parse(text) as T;
  }

  /** It was revoked since this tab was opened. */
  #forgetToken(): void {
    access.useToken(null);
    this.stage = "login";
  }
}

export const session = new Session();
