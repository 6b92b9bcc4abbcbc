// Calls that ui/web/openapi.json does not describe: the agent's, and those of the API that take or
// give something other than JSON.

import type { AgentStatus, Drill, Happening, Json, List, Neighbour } from "./shapes";

export interface ImportLine {
  line: number;
  result: "created" | "unchanged" | "would_create" | "invalid" | "name_taken";
  name?: string | null;
  id?: string | null;
  detail?: string | null;
}

export interface ImportReport {
  dry_run: boolean;
  created: number;
  unchanged: number;
  failed: number;
  lines: ImportLine[];
}

export interface PlanItem {
  what: string;
  name: string;
}

export interface PlanChange extends PlanItem {
  fields: { field: string; from: Json; to: Json }[];
}

export interface Plan {
  create: PlanItem[];
  change: PlanChange[];
  remove: PlanItem[];
  keep: number;
}

export interface Applied {
  dry_run: boolean;
  plan: Plan;
  apply_id?: string | null;
  confirm_by?: string | null;
}

/** What waits for its confirmation. */
export interface Waiting {
  apply_id: string | null;
  confirm_by: string | null;
}

type Id = { id: string };
type Page = { limit?: number; cursor?: string; q?: string; sort?: string };

export interface Coming {
  "GET /v1/journal": {
    query: Page & { client_id?: string; proxy_id?: string; mapping_id?: string; kind?: string; by?: string; from?: string; to?: string };
    answer: List<Happening>;
  };
  "POST /v1/proxies/import": { query: { scheme?: string; dry_run?: boolean }; text: string; answer: ImportReport };
  "GET /v1/export": { query: { secrets?: boolean }; answer: string };
  "POST /v1/apply": { query: { dry_run?: boolean; confirm_within?: string }; text: string; answer: Applied };
  "POST /v1/apply/{id}/confirm": { path: Id; answer: Json };
  "GET /v1/apply": { answer: Waiting };
  "GET /agent/status": { answer: AgentStatus };
  "GET /agent/ruleset": { answer: string };
  "GET /agent/neighbours": { answer: { items: Neighbour[] } };
  "POST /agent/reconcile": { answer: Json };
  "POST /agent/drill": { answer: Drill };
}
