// What a browser loads before the first page can be used: the beginning, one language, and the page.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const BUDGET = 150_000;
const built = join(dirname(fileURLToPath(import.meta.url)), "../../../target/web");

interface Chunk {
  file: string;
  src?: string;
  imports?: string[];
  css?: string[];
}

it("is within its budget for every page, packed", () => {
  const manifest = JSON.parse(readFileSync(join(built, ".vite/manifest.json"), "utf8")) as Record<string, Chunk>;
  const size = (file: string): number => readFileSync(join(built, `${file}.gz`)).length;
  const files = (name: string, into: Set<string>): Set<string> => {
    const chunk = manifest[name];
    if (!chunk || into.has(chunk.file)) return into;
    for (const file of [chunk.file, ...(chunk.css ?? [])]) into.add(file);
    for (const other of chunk.imports ?? []) files(other, into);
    return into;
  };
  const pages = Object.keys(manifest).filter((name) => name.startsWith("src/pages/"));
  expect(pages.length).toBeGreaterThanOrEqual(8);
  const extra: Record<string, string[]> = { "src/pages/Overview.svelte": ["src/parts/Chart.svelte"] };
  for (const page of pages) {
    const first = new Set(["index.html"]);
    for (const part of ["index.html", "src/text/vi.json", page, ...(extra[page] ?? [])]) files(part, first);
    const sum = [...first].reduce((bytes, file) => bytes + size(file), 0);
    console.log(`${page}: ${(sum / 1000).toFixed(1)} kB in ${first.size} files`);
    expect(sum, page).toBeLessThanOrEqual(BUDGET);
  }
});
