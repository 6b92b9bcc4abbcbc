// A form as a command that does the same. It asks the shell for the token, and shows no password.

import { address, typeOfText } from "../api/call";
import type { Planned } from "./mapping";

const HIDDEN = ["password", "current", "new", "token"];
/** They ask for no token. */
const OPEN_TO_ALL = ["POST /v1/login", "POST /v1/setup", "GET /v1/verify/{code}", "POST /v1/verify/{code}"];
/** Whoever signs in wants to stay it: what follows is `curl -b pgw.cookies`. */
const KEEPS_SESSION = ["POST /v1/login", "POST /v1/setup"];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

interface Command {
  path?: object;
  query?: object;
  body?: unknown;
  text?: unknown;
  ifMatch?: string;
}

export function curl(call: string, given: Command, origin: string): string {
  const method = call.slice(0, call.indexOf(" "));
  const lines = [`curl -X ${method} ${quoted(origin + address(call, given.path, given.query))}`];
  if (!OPEN_TO_ALL.includes(call)) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  if (KEEPS_SESSION.includes(call)) lines.push("-c pgw.cookies");
  if (given.ifMatch !== undefined) lines.push(`-H ${quoted(`If-Match: ${given.ifMatch}`)}`);
  if (given.text !== undefined) lines.push("--data-binary @-", `-H 'Content-Type: ${typeOfText(call)}'`);
  else if (given.body !== undefined) lines.push(`--json ${quoted(JSON.stringify(given.body, (name, value: unknown) => (HIDDEN.includes(name) && value ? "…" : value)))}`);
  return lines.join(" \\\n  ");
}

/** The same change for each of several. */
export function patchScript(call: string, ids: string[], body: object, origin: string): string {
  return ids.map((id) => curl(call, { path: { id }, body }, origin)).join("\n");
}

const MADE = "made-before";

/** Several calls: whoever is not registered yet is first, and the shell keeps the id. */
export function mappingScript(plans: Planned[], conditions: object, origin: string): string {
  const known = new Set<string>();
  return plans
    .flatMap(({ device, proxy, priority }) => {
      const lines: string[] = [];
      if (device.id === null && !known.has(device.key)) {
        known.add(device.key);
        lines.push(`CLIENT=$(${curl("POST /v1/clients", { body: { name: device.name, ip_cidr: device.ip } }, origin)} | jq -r .id)`);
      }
      const body = { client_id: device.id ?? MADE, proxy_id: proxy, priority, ...conditions };
      lines.push(curl("POST /v1/mappings", { body }, origin).replace(MADE, `'"$CLIENT"'`));
      return lines;
    })
    .join("\n");
}
