// Tunnels, as the gateway speaks of them.

import type { List } from "./shapes";

export type TunnelProtocol = "tcp" | "udp" | "both" | "http";
export type TunnelState = "PENDING" | "ACTIVE" | "OFFLINE" | "FAILED";
export type ClientFileOs = "windows" | "linux" | "macos";

export interface TunnelClient {
  id: string;
  name: string;
  gateway: string;
  note: string;
  enabled: boolean;
  allowed_ports: (number | string)[];
  max_tunnels: number;
  max_connections: number;
  bandwidth?: number | null;
  status: "online" | "offline";
  address?: string | null;
  version?: string | null;
  carrier?: string | null;
  rtt_ms?: number | null;
  last_seen?: string | null;
  enrolled: boolean;
  tunnels: number;
  revision: number;
  created_at: string;
  updated_at: string;
}

export interface Tunnel {
  id: string;
  name: string;
  tunnel_client_id: string;
  tunnel_client: string;
  gateway: string;
  protocol: TunnelProtocol;
  public_port?: number | null;
  host?: string | null;
  path?: string | null;
  header?: { name: string; value: string } | null;
  local_host: string;
  local_port: number;
  origin: "client" | "operator";
  enabled: boolean;
  verified: boolean;
  state: TunnelState;
  reason?: string | null;
  bandwidth?: number | null;
  max_connections?: number | null;
  visitor_allow: string[];
  compression: boolean;
  proxy_protocol: boolean;
  bytes_in: number;
  bytes_out: number;
  connections: number;
  active: number;
  /** Of what a client asked for itself there is none: it cannot be changed here. */
  revision?: number | null;
  created_at: string;
  updated_at: string;
}

export interface Verification {
  code: string;
  url: string;
  expires_at: string;
}

export interface TunnelSession {
  id: string;
  tunnel_client_id: string;
  address: string;
  version: string;
  carrier: string;
  started_at: string;
  ended_at?: string | null;
  reason?: string | null;
  bytes_in: number;
  bytes_out: number;
  connections: number;
}

export interface Enrolment {
  code: string;
  expires_at: string;
  server: string;
  ca: string;
  command: string;
}

export interface Visitor {
  address: string;
  since: string;
  bytes_in: number;
  bytes_out: number;
}

/** What stands behind a code, for whoever was given it. */
export interface Verifying {
  tunnel: string;
  tunnel_client: string;
  protocol: TunnelProtocol;
  public_port?: number | null;
  host?: string | null;
  target: string;
  expires_at: string;
}

export interface TunnelCreate {
  name: string;
  tunnel_client_id: string;
  protocol: TunnelProtocol;
  public_port?: number;
  host?: string;
  local_host: string;
  local_port: number;
  verify?: boolean;
}

export interface TunnelUpdate {
  name?: string;
  enabled?: boolean;
  local_host?: string;
  local_port?: number;
  visitor_allow?: string[];
  bandwidth?: number | null;
  max_connections?: number | null;
}

type Id = { id: string };
type Page = { limit?: number; cursor?: string; q?: string; sort?: string };

export interface TunnelCalls {
  "GET /v1/tunnel-clients": { query: Page; answer: List<TunnelClient> };
  "POST /v1/tunnel-clients": { body: { name: string; note?: string }; answer: TunnelClient & { token: string } };
  "GET /v1/tunnel-clients/{id}": { path: Id; answer: TunnelClient };
  "PATCH /v1/tunnel-clients/{id}": { path: Id; body: { name?: string; note?: string; enabled?: boolean; allowed_ports?: (number | string)[]; max_tunnels?: number }; answer: TunnelClient };
  "DELETE /v1/tunnel-clients/{id}": { path: Id; query: { cascade?: boolean }; answer: undefined };
  "POST /v1/tunnel-clients/{id}/token": { path: Id; answer: { token: string } };
  "POST /v1/tunnel-clients/{id}/disconnect": { path: Id; answer: undefined };
  "POST /v1/tunnel-clients/{id}/enrolment": { path: Id; answer: Enrolment };
  "GET /v1/tunnel-clients/{id}/sessions": { path: Id; query: Page; answer: List<TunnelSession> };
  "GET /v1/tunnels": { query: Page & { tunnel_client_id?: string; state?: TunnelState; protocol?: TunnelProtocol; origin?: string }; answer: List<Tunnel> };
  "POST /v1/tunnels": { body: TunnelCreate; answer: Tunnel & { verification?: Verification | null } };
  "GET /v1/tunnels/{id}": { path: Id; answer: Tunnel };
  "PATCH /v1/tunnels/{id}": { path: Id; body: TunnelUpdate; answer: Tunnel };
  "DELETE /v1/tunnels/{id}": { path: Id; answer: undefined };
  "POST /v1/tunnels/{id}/close": { path: Id; answer: Tunnel };
  "POST /v1/tunnels/{id}/verify": { path: Id; answer: Verification };
  "GET /v1/tunnels/{id}/stats": { path: Id; answer: { bytes_in: number; bytes_out: number; connections: number; active: number; visitors: Visitor[] } };
  "GET /v1/tunnels/{id}/sessions": { path: Id; query: Page; answer: List<TunnelSession> };
  "GET /v1/tunnels/{id}/client-file": { path: Id; query: { os: ClientFileOs }; answer: string };
  "GET /v1/verify/{code}": { path: { code: string }; answer: Verifying };
  "POST /v1/verify/{code}": { path: { code: string }; answer: Verifying & { verified: boolean } };
}
