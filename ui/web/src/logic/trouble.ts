// A problem in words. What the gateway says is said as it is; what nobody said is said here.

import type { Problem } from "../api/problem";
import { t, type Key } from "../state/language.svelte";

const WAYS_ON: Record<string, Key> = {
  no_answer: "trouble.no_answer",
  precondition_failed: "trouble.changed_meanwhile",
  precondition_required: "trouble.changed_meanwhile",
  forbidden: "trouble.forbidden",
  too_many_attempts: "trouble.too_many",
};

export function say(problem: Problem): string {
  const way = WAYS_ON[problem.code];
  if (!way) return problem.detail;
  if (problem.code === "no_answer") return t(way);
  return t(way, { detail: problem.detail, seconds: problem.retryAfter ?? 60 });
}
