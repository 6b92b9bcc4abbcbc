// A plan as lines of a diff.

import type { ToldPlan } from "../api/shapes";

export interface PlanLine {
  kind: "create" | "change" | "remove" | "from" | "to";
  text: string;
}

export const isEmptyPlan = (plan: ToldPlan): boolean => plan.create.length + plan.change.length + plan.remove.length === 0;

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value ?? null));

/** What goes comes first: it is what hurts. */
export function planLines(plan: ToldPlan): PlanLine[] {
  const named = (kind: "create" | "remove") => plan[kind].map(({ what, name }): PlanLine => ({ kind, text: `${what} ${name}` }));
  const changed = plan.change.flatMap(({ what, name, fields }): PlanLine[] => [
    { kind: "change", text: `${what} ${name}` },
    ...fields.flatMap(({ field, from, to }): PlanLine[] => [
      { kind: "from", text: `${field}: ${shown(from)}` },
      { kind: "to", text: `${field}: ${shown(to)}` },
    ]),
  ]);
  return [...named("remove"), ...changed, ...named("create")];
}
