// What the pages are made of is told, with its terms.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const here = dirname(fileURLToPath(import.meta.url));
const told = join(here, "../../../target/web/.vite/packages");
const IMPORT = /from "((?:@[^"/]+\/)?[^"./][^"/]*)/g;

/** Those whose code or styles the sources name, not only their types. */
function named(folder: string): Set<string> {
  const found = new Set<string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(svelte|ts)$/.test(entry.name) || entry.name.endsWith(".test.ts")) continue;
    const text = readFileSync(join(entry.parentPath ?? entry.path, entry.name), "utf8");
    const lines = text.split("\n").map((line) => line.trim());
    for (const line of lines.filter((line) => line.startsWith("import ") && !line.startsWith("import type"))) {
      for (const [, name] of line.matchAll(IMPORT)) if (name) found.add(name);
    }
  }
  return found;
}

it("names every package that is in the pages, with its terms", () => {
  const packages = readdirSync(told);
  for (const name of [...named(here), "vite"]) {
    expect(packages.some((one) => one.startsWith(`${name.replace("/", "+")}@`)), `${name} of ${packages}`).toBe(true);
  }
  for (const one of packages) {
    const [name, version, licence] = readFileSync(join(told, one, "about"), "utf8").split("\n");
    expect(one).toBe(`${name?.replace("/", "+")}@${version}`);
    expect(licence, one).not.toBe("");
    expect(readdirSync(join(told, one)).length, one).toBeGreaterThan(1);
  }
});
