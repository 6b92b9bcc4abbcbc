// What people paste: counted before it is sent, and shown without its passwords.

import type { Key } from "../state/language.svelte";

/** The gateway takes a megabyte. */
export const LARGEST_BYTES = 1_000_000;
/** So much is still taken into the field, to say how much too much it is. */
export const LONGEST_PASTE = 6_000_000;

export const linesOf = (text: string): string[] => text.split(/\r\n|\r|\n/);

export function pasteTrouble(text: string, t: (key: Key, values?: Record<string, string | number>) => string): string | null {
  // At most four bytes each: whoever has fewer letters need not be counted.
  if (text.length * 4 <= LARGEST_BYTES) return null;
  const size = new TextEncoder().encode(text).length;
  return size <= LARGEST_BYTES ? null : t("import.too_much", { size: (size / 1_000_000).toFixed(1), most: 1 });
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
