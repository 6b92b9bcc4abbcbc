// How a tunnel is written, and the usual ones.

import type { Tunnel, TunnelProtocol } from "../api/shapes";

export interface Preset {
  name: string;
  protocol: TunnelProtocol;
  port: number;
}

/** What people open most; anything else is typed. */
export const PRESETS: Preset[] = [
  { name: "SSH", protocol: "tcp", port: 22 },
  { name: "HTTP", protocol: "tcp", port: 80 },
  { name: "HTTPS", protocol: "tcp", port: 443 },
  { name: "RDP", protocol: "tcp", port: 3389 },
  { name: "VNC", protocol: "tcp", port: 5900 },
];

/** Where visitors come in: a port of the gateway, or a name. */
export function publicOf({ protocol, public_port, host, path }: Pick<Tunnel, "protocol" | "public_port" | "host" | "path">): string {
  if (protocol === "http") return `${host ?? ""}${path ?? "/"}`;
  return public_port ? `:${public_port}` : "–";
}

export const targetOf = ({ local_host, local_port }: Pick<Tunnel, "local_host" | "local_port">): string => `${local_host}:${local_port}`;

/** Ports as they are typed: "12000, 12010-12020". */
export function portsOf(text: string): (number | string)[] {
  return text
    .split(/[\s,;]+/)
    .filter((part) => part !== "")
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

export function matchesTunnel(tunnel: Tunnel, word: string): boolean {
  const text = [tunnel.name, tunnel.tunnel_client, publicOf(tunnel), targetOf(tunnel), tunnel.protocol].join(" ").toLowerCase();
  return word.toLowerCase().split(/\s+/).every((part) => text.includes(part));
}
