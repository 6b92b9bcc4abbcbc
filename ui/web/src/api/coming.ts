// Calls that take or give something other than JSON, and those of the agent, which nobody describes.

import type { Applies, ApplyAnswer, ImportAnswer } from "../generated/api";
import type { AgentStatus, ClientFileOs, Drill, Happening, Json, List, Neighbour, Verification } from "./shapes";

export interface Coming {
  "GET /v1/journal": {
    query: { limit?: number; cursor?: string; client_id?: string; proxy_id?: string; mapping_id?: string; kind?: string; by?: string; from?: string; to?: string };
    answer: List<Happening>;
  };
  "POST /v1/proxies/import": { query: { scheme?: string; dry_run?: boolean }; text: string; answer: ImportAnswer };
  "GET /v1/export": { query: { secrets?: boolean }; answer: string };
  "POST /v1/apply": { query: { dry_run?: boolean; confirm_within?: string }; text: string; answer: ApplyAnswer };
  "GET /v1/apply": { answer: Applies };
  "GET /v1/tunnels/{id}/client-file": { path: { id: string }; query: { os: ClientFileOs }; answer: string };
  /** Without a code in its body: for a new one. */
  "POST /v1/tunnels/{id}/verify": { path: { id: string }; answer: Verification };
  "GET /agent/status": { answer: AgentStatus };
  "GET /agent/ruleset": { answer: string };
  "GET /agent/neighbours": { answer: { items: Neighbour[] } };
  "POST /agent/reconcile": { answer: Json };
  "POST /agent/drill": { answer: Drill };
}
