import { expect, it, vi } from "vitest";

vi.stubGlobal("sessionStorage", { getItem: () => null });
const { curl, mappingScript } = await import("./curl");
const { address } = await import("../api/call");

it("is the same call, with the shell's token and nobody's password", () => {
  const text = curl("PATCH /v1/proxies/{id}", { path: { id: "a/b" }, query: { x: true, y: undefined }, body: { name: "it's", password: "secret" } }, "http://gw:8081");
  expect(text).toBe(`curl -X PATCH 'http://gw:8081/api/v1/proxies/a%2Fb?x=true' \\\n  -H "Authorization: Bearer $TOKEN" \\\n  --json '{"name":"it'\\''s","password":"…"}'`);
});

it("keeps the session of whoever signs in, and shows no token where none is asked for", () => {
  expect(curl("POST /v1/login", { body: { name: "olga", password: "secret" } }, "http://gw")).toBe(`curl -X POST 'http://gw/api/v1/login' \\\n  -c pgw.cookies \\\n  --json '{"name":"olga","password":"…"}'`);
  expect(curl("POST /v1/verify/{code}", { path: { code: "c" } }, "http://gw")).toBe("curl -X POST 'http://gw/api/v1/verify/c'");
});

it("leads to the service that answers it", () => {
  expect([address("GET /agent/status"), address("GET /version"), address("GET /v1/clients", {}, { q: "a b&c" })]).toEqual(["/agent/status", "/api/version", "/api/v1/clients?q=a+b%26c"]);
});

it("makes a device before its mapping, and once", () => {
  const device = { key: "10.0.0.5", id: null, name: "it's", ip: "10.0.0.5" };
  const text = mappingScript([{ device, proxy: "p", priority: 10 }, { device, proxy: "q", priority: 20 }], { exclusive: true }, "http://gw");
  expect(text.match(/CLIENT=\$\(/g)).toHaveLength(1);
  expect(text).toContain(`--json '{"client_id":"'"$CLIENT"'","proxy_id":"q","priority":20,"exclusive":true}'`);
});
