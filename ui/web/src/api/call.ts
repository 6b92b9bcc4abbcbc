// One call. Whoever was signed out in the middle of it signs in again, and then it is made.

import { access } from "../state/access.svelte";
import type { Answered, Call, Given } from "./calls";
import { Problem, problemOf } from "./problem";
import type { List } from "./shapes";

/** The services give up by themselves after 30 s, and pgw-ui after 35. */
const PATIENCE_MS = 40_000;
const LARGEST_PAGE = 500;

export function address(call: string, path: object = {}, query: object = {}): string {
  const place = call.slice(call.indexOf(" ") + 1).replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(Reflect.get(path, name))));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") asked.set(name, String(value));
  }
  const mount = place.startsWith("/agent/") ? "" : "/api";
  return `${mount}${place}${asked.size > 0 ? `?${asked}` : ""}`;
}

export const typeOfText = (call: string): string => (call === "POST /v1/apply" ? "application/yaml" : "text/plain");

export function request<C extends Call>(call: C, given: Given<C>): [string, RequestInit] {
  const wanted = call === "GET /v1/export" ? typeOfText("POST /v1/apply") : "application/json, text/plain;q=0.5";
  const headers = new Headers({ accept: `${wanted}, application/problem+json`, ...access.headers() });
  let body: string | undefined;
  if (given.text !== undefined) {
    headers.set("content-type", typeOfText(call));
    body = String(given.text);
  } else if (given.body !== undefined) {
    headers.set("content-type", "application/json");
    body = JSON.stringify(given.body);
  }
  if (given.ifMatch) headers.set("if-match", given.ifMatch);
  const method = call.slice(0, call.indexOf(" "));
  return [address(call, given.path ?? {}, given.query ?? {}), { method, headers, body, keepalive: given.keepalive ?? false }];
}

async function once<C extends Call>(call: C, given: Given<C>): Promise<Answered<C>> {
  const [url, init] = request(call, given);
  const late = AbortSignal.timeout(PATIENCE_MS);
  const signal = given.signal ? AbortSignal.any([given.signal, late]) : late;
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { ...init, signal });
    text = await response.text();
  } catch (error) {
    if (given.signal?.aborted) throw error;
    throw new Problem(0, "no_answer", late.aborted ? "no_answer_in_time" : "no_answer");
  }
  if (!response.ok) throw problemOf(response, text);
  const isJson = response.headers.get("content-type")?.includes("json") ?? false;
  return (isJson ? JSON.parse(text) : text === "" ? undefined : text) as Answered<C>;
}

export async function ask<C extends Call>(call: C, given: Given<C> = {}): Promise<Answered<C>> {
  for (;;) {
    const asked = access.number;
    try {
      return await once(call, given);
    } catch (error) {
      // A wrong password is an answer; only whoever is not recognised has to sign in.
      const expired = error instanceof Problem && error.status === 401 && error.code === "unauthorized";
      if (!expired || given.keepalive) throw error;
      // Waits until somebody has signed in: the form that asks stays as it is.
      await access.renewed(asked);
    }
  }
}

/** Every page of a list. */
export async function askAll<T>(page: (cursor: string | undefined, limit: number) => Promise<List<T>>): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const { items: more, next_cursor } = await page(cursor, LARGEST_PAGE);
    items.push(...more);
    cursor = next_cursor ?? undefined;
  } while (cursor);
  return items;
}
