// What is said in passing: what was done, what could not be, and what will be done unless somebody
// takes it back in time.

import { asProblem } from "../api/problem";
import { say } from "../logic/trouble";
import { t } from "./language.svelte";

const SHOWN_MS = 5000;
const UNDO_S = 6;

export interface Toast {
  id: number;
  kind: "done" | "failed" | "undo";
  text: string;
  /** Of an undo: seconds that are left. */
  left: number;
  undo?: () => void;
  now?: () => void;
  /** Of a failure: the way on for whoever wants it all the same. */
  insist?: () => void;
}

class Toasts {
  all = $state<Toast[]>([]);
  /** What is about to be deleted, so that rows can show it. */
  going = $state.raw<ReadonlySet<string>>(new Set());
  #number = 0;
  #flush = new Set<(closing: boolean) => Promise<void>>();

  constructor() {
    // Whoever closes the page has not taken it back.
    addEventListener("pagehide", () => void this.settle(true));
  }

  done(text: string): void {
    this.#show({ kind: "done", text });
  }

  failed(error: unknown, insist?: () => void): void {
    const problem = asProblem(error);
    this.#show({ kind: "failed", text: problem.status === 412 ? t("trouble.left_alone") : say(problem), insist });
  }

  close(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }

  /** What is about to be done is done now, by whoever has asked for it. */
  async settle(closing = false): Promise<void> {
    await Promise.all([...this.#flush].map((flush) => flush(closing)));
  }

  /** Nothing is asked of the gateway until the time is over, so taking it back leaves no trace. */
  soon(text: string, things: string[], act: (keepalive: boolean) => Promise<unknown>): void {
    const id = (this.#number += 1);
    const clear = (): void => {
      clearInterval(timer);
      this.close(id);
      this.#flush.delete(flush);
    };
    const settle = (): void => {
      this.going = new Set([...this.going].filter((thing) => !things.includes(thing)));
    };
    const flush = (closing: boolean): Promise<void> => {
      clear();
      return act(closing).then(() => undefined, (error: unknown) => this.failed(error)).finally(settle);
    };
    const undo = (): void => {
      clear();
      settle();
    };
    const timer = setInterval(() => {
      const toast = this.all.find((one) => one.id === id);
      if (toast) toast.left -= 1;
      if (!toast || toast.left <= 0) void flush(false);
    }, 1000);
    this.going = new Set([...this.going, ...things]);
    this.#flush.add(flush);
    this.all.push({ id, kind: "undo", text, left: UNDO_S, undo, now: () => void flush(false) });
  }

  #show(toast: Pick<Toast, "kind" | "text" | "insist">): void {
    const id = (this.#number += 1);
    this.all.push({ id, left: 0, ...toast });
    if (toast.kind === "done") setTimeout(() => this.close(id), SHOWN_MS);
  }
}

export const toasts = new Toasts();
