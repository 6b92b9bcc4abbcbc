import { describe, expect, it } from "vitest";
import type { Client, Mapping, Proxy } from "../api/shapes";
import { concerns } from "./attention";
import { rowsOf } from "./devices";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const client = { id: "c", name: "tv", ip_cidr: "10.0.0.1/32", note: "", updated_at: "2026-01-01T11:00:00Z" } as Client;
const mapping = { id: "m", client_id: "c", proxy_id: "p", priority: 10, enabled: true, state: "FAILED", reason: "exit is 203.0.113.9 (NL), expected DE", created_at: "", updated_at: "2026-01-01T11:59:50Z" } as Mapping;
const proxy = { id: "p", name: "nl", enabled: true, health: { status: "OK" } } as Proxy;

function told(mappings: Mapping[], proxies = [proxy]): string[] {
  const byId = <T extends { id: string }>(things: T[]) => new Map(things.map((thing) => [thing.id, thing]));
  const rows = rowsOf(byId([client]), byId(mappings), byId(proxies));
  return concerns({ rows, now: NOW, proxies, agent: null, agentTrouble: null, ready: null, usersOf: () => mappings.length }).map(({ key, detail, link }) => `${key} ${detail} ${link}`.trim());
}

describe("what needs attention", () => {
  it("is a device that is closed although its proxy works, with the reason and the way to it", () => {
    expect(told([mapping])).toEqual(["attention.stuck exit is 203.0.113.9 (NL), expected DE /devices/c"]);
  });
  it("is a device that has waited for long, and none that is on its way", () => {
    const waits: Mapping = { ...mapping, state: "PENDING", reason: "the agent is awaited" };
    expect(told([waits])).toEqual([]);
    expect(told([{ ...waits, updated_at: "2026-01-01T11:58:00Z" }])).toEqual(["attention.stuck the agent is awaited /devices/c"]);
  });
  it("is told once where the proxy is to blame, and not where somebody has closed the device", () => {
    expect(told([mapping], [{ ...proxy, health: { status: "DOWN", error: "refused" } }])).toEqual(["attention.proxy_down refused /proxies/p"]);
    expect(told([{ ...mapping, enabled: false }])).toEqual([]);
    expect(told([{ ...mapping, state: "APPLIED" }])).toEqual([]);
    expect(told([])).toEqual(["attention.unmapped  /devices?q=proxy:none"]);
  });
});
