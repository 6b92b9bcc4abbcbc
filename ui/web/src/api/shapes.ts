// What the services say, by the names that the pages use. Whatever the API describes comes from
// its description; the agent has none, and events are no answer of a call.

import type { Client, Health, Mapping, MappingCreate, Proxy, ProxyCreate, ClientCreate, Token, TokenMade } from "../generated/api";

export type { ApplyAnswer, ApplyRecord, CalledName, ClientNow, Connection, Explanation, FieldError, Gateway, HealthOverTime, HealthStatus, ImportAnswer, MappingState, Me, Now, Ready, Scheme, SetupState, Target, ToldPlan, TrafficOverTime, Tunnel, TunnelClient, TunnelCreate, TunnelSession, TunnelState, User, Verification, Version, Visitor, Webhook } from "../generated/api";
export type { EnrolmentMade as Enrolment, Protocol as TunnelProtocol, ToVerify as Verifying } from "../generated/api";
export type { Client, ClientCreate, Health, Mapping, MappingCreate, Proxy, ProxyCreate, Token, TokenMade };

export interface List<T> {
  items: T[];
  next_cursor?: string | null;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** One entry of the event log: an SSE message, a line of the journal, a webhook's body. */
export interface Happening {
  id: number;
  at: string;
  gateway: string;
  kind: string;
  client_id: string | null;
  mapping_id: string | null;
  proxy_id: string | null;
  by: string | null;
  data: { [name: string]: Json };
}

export type ClientFileOs = "windows" | "linux" | "macos";

export interface Neighbour {
  ip: string;
  mac: string;
  state: "reachable" | "stale" | "delay" | "probe" | "permanent";
}

export interface DrillKind {
  kind: string;
  sent: number;
  met: number;
  leaked: number;
  control: number;
  not_tried: string | null;
}

export interface Drill {
  last_at: string | null;
  outcome: "closed" | "leaked" | "not_run" | null;
  proven_closed_at: string | null;
  detail: string;
  took_ms: number;
  kinds: DrillKind[];
}

export interface Drift {
  count: number;
  last_at: string | null;
  last_by: string | null;
  healed_ms: number | null;
  fighting: boolean;
}

export interface AgentStatus {
  version: string;
  generation: number | null;
  clients: number;
  applied: number;
  lan_if: string;
  wan_if: string;
  last_reconcile_at: string | null;
  last_error: string | null;
  warnings: string[];
  drift: Drift;
  drill: Drill;
}
