// Calls that ui/web/openapi.json does not describe: the agent's, and those of the API that take or
// give something other than JSON.

import type { AgentStatus, Drill, Happening, Json, List, Neighbour } from "./shapes";

export interface Webhook {
  id: string;
  name: string;
  url: string;
  kinds: string[];
  enabled: boolean;
  has_secret: boolean;
  status: { last_ok_at: string | null; failing_since: string | null; last_error: string | null; waiting: number };
  revision: number;
}

export interface TrafficPoint {
  at: string;
  bytes_up: number;
  bytes_down: number;
  connections: number;
}

export interface Traffic {
  window_s: number;
  step_s: number;
  points: TrafficPoint[];
}

export interface ClientNow {
  client_id: string;
  up_bps: number;
  down_bps: number;
  connections: number;
}

export interface Now {
  up_bps: number;
  down_bps: number;
  connections: number;
  clients: ClientNow[];
}

export interface HealthPoint {
  at: string;
  latency_ms: number | null;
  status: string;
}

export interface SeenName {
  name: string;
  connections: number;
  bytes_up: number;
  bytes_down: number;
}

export interface Connection {
  id: string;
  client_id: string | null;
  client: string | null;
  ip: string;
  mapping_id: string | null;
  proxy: string | null;
  name: string | null;
  bytes_up: number;
  bytes_down: number;
  age_ms: number;
  idle_ms: number;
}

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
type Window = { client_id?: string; proxy_id?: string; window?: string };
type Page = { limit?: number; cursor?: string; q?: string; sort?: string };

export interface Coming {
  "GET /v1/journal": {
    query: Page & { client_id?: string; proxy_id?: string; mapping_id?: string; kind?: string; by?: string; from?: string; to?: string };
    answer: List<Happening>;
  };
  "GET /v1/webhooks": { query: Page; answer: List<Webhook> };
  "POST /v1/webhooks": { body: { name: string; url: string; kinds: string[] }; answer: Webhook & { secret: string } };
  "PATCH /v1/webhooks/{id}": { path: Id; body: { enabled?: boolean; name?: string; url?: string; kinds?: string[] }; answer: Webhook };
  "DELETE /v1/webhooks/{id}": { path: Id; answer: undefined };
  "POST /v1/webhooks/{id}/test": { path: Id; answer: Json };
  "GET /v1/telemetry/traffic": { query: Window; answer: Traffic };
  "GET /v1/telemetry/now": { answer: Now };
  "GET /v1/telemetry/health": { query: { proxy_id: string; window?: string }; answer: { points: HealthPoint[] } };
  "GET /v1/telemetry/names": { query: { client_id: string; window?: string }; answer: { items: SeenName[] } };
  "GET /v1/connections": { query: Page & { client_id?: string; proxy_id?: string }; answer: List<Connection> };
  "DELETE /v1/connections/{id}": { path: Id; answer: undefined };
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
