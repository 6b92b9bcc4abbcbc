import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import en from "./en.json";
import vi from "./vi.json";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(ts|svelte)$/.test(name) && !name.includes("test") && !name.includes("generated"))
  .map((name) => readFileSync(join(root, name), "utf8"))
  .join("\n");

const values = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)/g)].map(([, name]) => name ?? ""))].sort();

it("has the same texts in each language, with the same values in them", () => {
  expect(Object.keys(vi).sort()).toEqual(Object.keys(en).sort());
  const other: Record<string, string> = vi;
  for (const [key, text] of Object.entries(en)) {
    expect(text.trim(), key).not.toBe("");
    expect([key, values(other[key] ?? "")]).toEqual([key, values(text)]);
  }
});

it("says every text somewhere", () => {
  const made = [...sources.matchAll(/`([a-z_.]+)\$\{/g)].map(([, start]) => start ?? "").filter((start) => start.endsWith("."));
  const unused = Object.keys(en).filter((key) => !sources.includes(`"${key}"`) && !made.some((start) => key.startsWith(start)));
  expect(unused).toEqual([]);
});

it("reads nothing from outside as markup, and types everything", () => {
  for (const forbidden of [/innerHTML/, /outerHTML/, /insertAdjacentHTML/, /document\.write/, /\{@html/, /\beval\(/, /: any\b/, /\bas any\b/, /<any>/, /@ts-/, /https?:\/\/(?!gateway|")/]) {
    const found = sources.match(forbidden);
    expect(found && sources.slice(found.index ?? 0, (found.index ?? 0) + 80)).toBeNull();
  }
});
