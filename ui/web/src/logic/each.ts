// One call for each of several things, and what is to be done where somebody else was faster.

import { asProblem, type Problem } from "../api/problem";
import { toasts } from "../state/toasts.svelte";

/** Calls at a time: the gateway writes one after the other anyway. */
const AT_ONCE = 6;
/** Refused for what the thing has become since it was looked at; whoever insists may have his way. */
const OVERTAKEN = ["precondition_failed", "in_use"];

/** For If-Match: the thing as it was looked at. */
export const asSeen = (thing: { revision: number }): string => `"${thing.revision}"`;
/** For If-Match: whatever it has become. */
export const ANYHOW = "*";

export async function each<T>(things: T[], act: (thing: T) => Promise<unknown>): Promise<void> {
  const rest = [...things];
  const worker = async (): Promise<void> => {
    for (let thing = rest.shift(); thing !== undefined; thing = rest.shift()) await act(thing);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, rest.length) }, worker));
}

/** Never fails: what was refused is told, and what was overtaken is left alone and offered once more. */
export async function toEach<T>(things: T[], act: (thing: T, insists: boolean) => Promise<unknown>, done: string | null, insists = false): Promise<void> {
  const overtaken: T[] = [];
  let first: Problem | null = null;
  await each(things, async (thing) => {
    try {
      await act(thing, insists);
    } catch (error) {
      const problem = asProblem(error);
      if (OVERTAKEN.includes(problem.code)) overtaken.push(thing);
      first ??= problem;
    }
  });
  if (first) toasts.failed(first, overtaken.length > 0 ? () => void toEach(overtaken, act, done, true) : undefined);
  else if (done) toasts.done(done);
}
