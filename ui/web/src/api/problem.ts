// What went wrong with a call, and next to which field it is to be said.

import type { FieldError } from "./shapes";

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: FieldError[] = [],
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }

  /** No answer at all: nobody knows whether it was done. */
  get isSilence(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 504;
  }

  /** What is wrong with this field: "/name" is also found below "/name/0". */
  of(field: string): string | null {
    const pointer = `/${field}`;
    const found = this.errors.filter((error) => error.pointer === pointer || error.pointer.startsWith(`${pointer}/`));
    return found.length > 0 ? found.map((error) => error.detail).join("; ") : null;
  }

  /** What stands next to none of these fields has to be said elsewhere. */
  beside(fields: string[]): string | null {
    const rest = this.errors.filter((error) => !fields.some((field) => error.pointer === `/${field}` || error.pointer.startsWith(`/${field}/`)));
    if (rest.length > 0) return rest.map((error) => `${error.pointer.slice(1)}: ${error.detail}`).join("; ");
    return this.errors.length > 0 ? null : this.detail;
  }
}

export function problemOf(response: Response, text: string): Problem {
  const wait = Number(response.headers.get("retry-after"));
  const retryAfter = Number.isFinite(wait) && wait > 0 ? wait : null;
  try {
    const { code, detail, errors } = JSON.parse(text) as Partial<Problem>;
    if (typeof detail === "string") return new Problem(response.status, code ?? "unknown", detail, errors ?? [], retryAfter);
  } catch {
    // Not ours: a program in between has answered.
  }
  return new Problem(response.status, "foreign_answer", `HTTP ${response.status} ${response.statusText}`.trim(), [], retryAfter);
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "unexpected", error instanceof Error ? error.message : String(error));
}
