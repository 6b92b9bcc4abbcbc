// A form as a command that does the same. It asks the shell for the token, and shows no password.

import { address } from "../api/call";

const HIDDEN = ["password", "current", "new", "token"];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

interface Command {
  path?: object;
  query?: object;
  body?: unknown;
  text?: unknown;
}

export function curl(call: string, given: Command, origin: string): string {
  const method = call.slice(0, call.indexOf(" "));
  const lines = [`curl -X ${method} ${quoted(origin + address(call, given.path, given.query))}`, `-H "Authorization: Bearer $TOKEN"`];
  if (given.text !== undefined) lines.push("--data-binary @-", "-H 'Content-Type: text/plain'");
  else if (given.body !== undefined) lines.push(`--json ${quoted(JSON.stringify(given.body, (name, value: unknown) => (HIDDEN.includes(name) && value ? "…" : value)))}`);
  return lines.join(" \\\n  ");
}
