// What people paste: counted before it is sent, and shown without its passwords.

import type { Key } from "../state/language.svelte";

const MEBIBYTE = 1024 * 1024;
/** What the gateway takes at once: of a list of proxies, and of the whole configuration. */
export const LARGEST = { list: 5 * MEBIBYTE, document: 16 * MEBIBYTE } as const;
/** So much is at home in a field; more is kept beside it. */
export const LONGEST_TYPED = 200_000;
/** Some thousand devices, which somebody may still want to edit in place. */
export const LONGEST_DOCUMENT = 1_000_000;

export const linesOf = (text: string): string[] => text.split(/\r\n|\r|\n/);

export function pasteTrouble(text: string, largest: number, t: (key: Key, values?: Record<string, string | number>) => string): string | null {
  // At most four bytes each: whoever has fewer letters need not be counted.
  if (text.length * 4 <= largest) return null;
  const size = new TextEncoder().encode(text).length;
  return size <= largest ? null : t("import.too_much", { size: (size / MEBIBYTE).toFixed(1), most: largest / MEBIBYTE });
}

/** scheme://user:password@host and host:port:user:password: the password is nobody's to see. */
export function hidePassword(line: string): string {
  return line.replace(/(^|\/\/)([^:@/\s]+):([^@\s]+)@/, "$1$2:…@").replace(/^([^:\s]+:\d+:[^:\s]+):.+$/, "$1:…");
}

/** Addresses in what was pasted, each once, and what else was in it. */
export function addressesIn(text: string): { found: { ip: string; name: string }[]; odd: string[] } {
  const found = new Map<string, string>();
  const odd: string[] = [];
  for (const line of linesOf(text)) {
    if (line.trim() === "" || line.trim().startsWith("#")) continue;
    const ip = /(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])/.exec(line)?.[0];
    if (ip === undefined || ip.split(".").some((part) => Number(part) > 255)) odd.push(line.trim());
    else if (!found.has(ip)) found.set(ip, line.replace(ip, "").replace(/\/32\b/, "").replace(/[,;\t]+/g, " ").trim());
  }
  return { found: [...found].map(([ip, name]) => ({ ip, name })), odd };
}
