// Asks the services. Whatever goes wrong becomes a Trouble with a sentence for the operator.

const PATIENCE_MS = 10_000;
const PAGE = 500;
const PAGES = 4;

export class Trouble extends Error {
  // kind: "lost" (nobody answers), "token" (not accepted), "problem" (an answer that says no)
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// How far the gateway's clock is ahead of this one, so that "12 s ago" is true.
let ahead = 0;
export const now = () => Date.now() + ahead;

async function answerOf(path, token) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  let answer, body;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    answer = await fetch(path, { headers, signal, cache: "no-store", redirect: "error" });
    body = await answer.text();
  } catch (_network) {
    throw new Trouble("lost", "Connection lost.");
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (!Number.isNaN(date)) ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  try {
    return { status: answer.status, body: JSON.parse(body) };
  } catch (_notJson) {
    return { status: answer.status, body: null };
  }
}

function troubleOf({ status, body }, path) {
  const said = typeof body?.detail === "string" ? body.detail : `${path} was answered with status ${status}.`;
  return new Trouble(status === 401 ? "token" : "problem", said);
}

export async function ask(path, token) {
  const answer = await answerOf(path, token);
  if (answer.status !== 200 || answer.body === null) throw troubleOf(answer, path);
  return answer.body;
}

// "Not ready" is an answer too, and the one that matters most.
export async function askReadiness() {
  const answer = await answerOf("/api/readyz");
  if (!Array.isArray(answer.body?.checks)) throw troubleOf(answer, "/api/readyz");
  return answer.body;
}

// The whole list, up to a bound; `more` says that there is something behind it.
export async function askAll(path, token) {
  const items = [];
  let cursor = null;
  for (let page = 0; page < PAGES; page += 1) {
    const query = new URLSearchParams({ limit: PAGE });
    if (cursor) query.set("cursor", cursor);
    const list = await ask(`${path}?${query}`, token);
    items.push(...list.items);
    cursor = list.next_cursor;
    if (!cursor) break;
  }
  return { items, more: Boolean(cursor) };
}
