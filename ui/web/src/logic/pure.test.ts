import { describe, expect, it } from "vitest";
import { Problem } from "../api/problem";
import { Cutter } from "../api/stream";
import type { Mapping } from "../api/shapes";
import { changed } from "./changed";
import { wantedOf } from "./destination";
import { fill } from "./fill";
import { ago, bytes, duration, milliseconds, rate } from "./format";
import { labelsOf, labelText, sameLabels } from "./labels";
import { neediestFirst, planned } from "./mapping";
import { addressesIn, hidePassword, pasteTrouble } from "./paste";
import { isEmptyPlan, planLines } from "./plan";
import { moved } from "./reorder";
import { windowOf } from "./window";

describe("the stream of events", () => {
  const text = ': beat\n\nevent: mapping.state\nid: 7\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\nevent: lost\n\n';
  const want = [
    { event: "mapping.state", id: "7", data: '{"a":\n1}' },
    { event: "message", id: "7", data: "x" },
  ];
  it("is cut into the same messages wherever its pieces end", () => {
    for (let size = 1; size <= text.length; size += 1) {
      const cutter = new Cutter();
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, n) => text.slice(n * size, (n + 1) * size));
      expect(pieces.flatMap((piece) => cutter.push(piece))).toEqual(want);
    }
  });
});

describe("a problem", () => {
  const problem = new Problem(400, "validation_failed", "Not understood.", [
    { pointer: "/name", detail: "is empty" },
    { pointer: "/kinds/0", detail: "is unknown" },
  ]);
  it("is told beside the field that it is about", () => {
    expect([problem.of("name"), problem.of("kinds"), problem.of("nam")]).toEqual(["is empty", "is unknown", null]);
  });
  it("is told elsewhere where no such field is shown", () => {
    expect(problem.beside(["name"])).toBe("kinds/0: is unknown");
    expect(problem.beside(["name", "kinds"])).toBeNull();
    expect(new Problem(409, "conflict", "Taken.").beside(["name"])).toBe("Taken.");
  });
});

describe("numbers and times", () => {
  it("are scaled to what is read at one look", () => {
    expect([bytes(0, "en"), bytes(1500, "en"), bytes(98_765_432, "en")]).toEqual(["0 B", "1.5 kB", "99 MB"]);
    expect([milliseconds(999, "en"), milliseconds(1651, "en"), milliseconds(30_000, "vi")]).toEqual(["999 ms", "1.7 s", "30 s"]);
    expect([rate(87_000_000, "en"), rate(4_200_000, "vi")]).toEqual(["87 Mbit/s", "4,2 Mbit/s"]);
    expect(duration(3_700_000, "en")).toBe("1h");
  });
  it("are told as so long ago, and never as in the future by a clock that differs a little", () => {
    const now = Date.parse("2026-01-01T12:00:00Z");
    expect([ago("2026-01-01T11:59:20Z", now, "en"), ago("2025-12-31T12:00:00Z", now, "en"), ago("2026-01-01T12:00:00.400Z", now, "en")]).toEqual(["40 sec. ago", "yesterday", "now"]);
  });
});

it("fills values in, with the word that follows its number", () => {
  const text = "{count} {count~device~devices} by {name}";
  expect(fill(text, { count: 1, name: "x" }, "en")).toBe("1 device by x");
  expect(fill(text, { count: 1200, name: "{count}" }, "en")).toBe("1,200 devices by {count}");
  expect(fill("{unknown}", {}, "en")).toBe("{unknown}");
});

describe("what is pasted", () => {
  it("never shows a password", () => {
    for (const line of ["socks5://u:se:cret@h:1", "u:secret@h:1", "h:1:u:secret", "h:1:u:sec:ret"]) expect(hidePassword(line)).not.toMatch(/sec|ret/);
    expect(hidePassword("http://h:1")).toBe("http://h:1");
  });
  it("is counted in bytes before it is sent", () => {
    const t = (key: string, values: object = {}) => key + JSON.stringify(values);
    expect(pasteTrouble("x".repeat(1 << 20), 1 << 20, t)).toBeNull();
    expect(pasteTrouble("é".repeat(1 << 20), 1 << 20, t)).toContain('"size":"2.0","most":1');
  });
  it("gives each address once, with the name beside it, and tells what is none", () => {
    expect(addressesIn("192.168.2.10 phone-01\r\n\n# note\n192.168.2.10\nphone-02, 192.168.2.11/32\nfoo 1.2.3.400\n1.2.3.4.5")).toEqual({
      found: [
        { ip: "192.168.2.10", name: "phone-01" },
        { ip: "192.168.2.11", name: "phone-02" },
      ],
      odd: ["foo 1.2.3.400", "1.2.3.4.5"],
    });
  });
});

describe("mappings that are planned", () => {
  it("offers those first that have no way out, and leaves the others in their order", () => {
    const rows = [{ id: "a", mappings: [1] }, { id: "b", mappings: [] }, { id: "c", mappings: [1] }, { id: "d", mappings: [] }];
    expect(neediestFirst(rows).map((row) => row.id)).toEqual(["b", "d", "a", "c"]);
  });

  const device = (id: string | null, ip: string) => ({ key: id ?? ip, id, name: ip, ip });
  const existing = [{ id: "m", client_id: "a", proxy_id: "p1", priority: 30 }] as Mapping[];
  it("come behind what a device has, and never twice", () => {
    expect(planned([device("a", "1"), device(null, "2")], ["p1", "p2"], "all", existing).map((one) => [one.device.ip, one.proxy, one.priority])).toEqual([["1", "p2", 40], ["2", "p1", 10], ["2", "p2", 20]]);
  });
  it("go in turns where they are to be spread", () => {
    expect(planned([device(null, "1"), device(null, "2"), device(null, "3")], ["p1", "p2"], "turns", []).map((one) => one.proxy)).toEqual(["p1", "p2", "p1"]);
    expect(planned([device(null, "1")], [], "turns", [])).toEqual([]);
  });
});

it("shows a plan as a diff, what goes first", () => {
  const plan = { create: [{ what: "proxy", name: "new" }], change: [{ what: "proxy", name: "de", fields: [{ field: "port", from: 1, to: 2 }, { field: "note", from: "", to: "<b>" }] }], remove: [{ what: "client", name: "tv" }], keep: 3 };
  expect(planLines(plan).map((line) => `${line.kind} ${line.text}`)).toEqual(["remove client tv", "change proxy de", "from port: 1", "to port: 2", "from note: ", "to note: <b>", "create proxy new"]);
  expect([isEmptyPlan(plan), isEmptyPlan({ create: [], change: [], remove: [], keep: 9 })]).toEqual([false, true]);
});

it("moves one thing and leaves the others in their order", () => {
  expect([moved([1, 2, 3], 0, 2), moved([1, 2, 3], 2, 0), moved([1, 2, 3], 1, 1)]).toEqual([[2, 3, 1], [3, 1, 2], [1, 2, 3]]);
});

it("draws only the rows that are seen, and none that is not there", () => {
  expect(windowOf(0, 600, 50, 1000)).toEqual({ from: 0, to: 20 });
  expect(windowOf(-300, 600, 50, 3)).toEqual({ from: 0, to: 3 });
  expect(windowOf(25_000, 600, 50, 1000)).toEqual({ from: 492, to: 520 });
  const { from, to } = windowOf(9_999_999, 600, 50, 10);
  expect(from).toBeLessThanOrEqual(to);
});

it("sends only what was changed", () => {
  expect(changed({ a: 1, b: "x", c: null as string | null }, { a: 1, b: "y", c: null })).toEqual({ b: "y" });
});

describe("labels", () => {
  it("are what was typed, and written as they are typed", () => {
    expect(labelsOf(" site = hall-2 ,, spare\nurl=a=b,site=hall-3")).toEqual({ site: "hall-3", spare: "", url: "a=b" });
    expect(labelText({ site: "hall-3", spare: "" })).toBe("site=hall-3, spare");
  });
  it("are the same in any order", () => {
    expect([sameLabels({ a: "1", b: "2" }, { b: "2", a: "1" }), sameLabels({ a: "1" }, { a: "2" })]).toEqual([true, false]);
  });
});

it("reads where a device wants to go from whatever names it", () => {
  expect(["example.com", "example.com:8443", "http://example.com/a?b", "https://example.com", " 192.0.2.7:53 "].map(wantedOf)).toEqual([
    { host: "example.com" },
    { host: "example.com", port: 8443 },
    { host: "example.com", port: 80 },
    { host: "example.com" },
    { host: "192.0.2.7", port: 53 },
  ]);
  expect(["", "two words", "https://"].map(wantedOf)).toEqual([null, null, null]);
});
