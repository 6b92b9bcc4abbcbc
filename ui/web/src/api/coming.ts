// Calls that take or give something other than JSON, and those of the agent, which nobody describes.

import type { Applies, ApplyAnswer, ImportAnswer } from "../generated/api";
import type { AgentStatus, Drill, Happening, Json, List, Neighbour } from "./shapes";

export interface Coming {
  "GET /v1/journal": {
    query: { limit?: number; cursor?: string; client_id?: string; proxy_id?: string; mapping_id?: string; kind?: string; by?: string; from?: string; to?: string };
    answer: List<Happening>;
  };
  "POST /v1/proxies/import": { query: { scheme?: string; dry_run?: boolean }; text: string; answer: ImportAnswer };
  "GET /v1/export": { query: { secrets?: boolean }; answer: string };
  "POST /v1/apply": { query: { dry_run?: boolean; confirm_within?: string }; text: string; answer: ApplyAnswer };
  "GET /v1/apply": { answer: Applies };
  "GET /agent/status": { answer: AgentStatus };
  "GET /agent/ruleset": { answer: string };
  "GET /agent/neighbours": { answer: { items: Neighbour[] } };
  "POST /agent/reconcile": { answer: Json };
  "POST /agent/drill": { answer: Drill };
}
