// Every call by one name, "METHOD /path", with what it takes and what it gives.

import type { paths } from "../generated/api";
import type { Coming } from "./coming";

type Methods = "get" | "post" | "patch" | "delete";

type Answer<O> = O extends { responses: infer R }
  ? { [S in keyof R & (200 | 201 | 202)]: R[S] extends { content: { "application/json": infer B } } ? B : undefined }[keyof R & (200 | 201 | 202)]
  : undefined;

type Described<O> = {
  path: O extends { parameters: { path: infer P } } ? P : undefined;
  query: O extends { parameters: { query?: infer Q } } ? Q : undefined;
  body: O extends { requestBody: { content: { "application/json": infer B } } } ? B : undefined;
  answer: Answer<O>;
};

type OfPath<P extends keyof paths & string> = {
  [M in Methods as paths[P][M] extends { responses: unknown } ? `${Uppercase<M>} ${P}` : never]: Described<paths[P][M]>;
};

type Everything = { [P in keyof paths & string]: (every: OfPath<P>) => void }[keyof paths & string] extends (every: infer All) => void
  ? All
  : never;

export type Calls = Omit<Everything, keyof Coming> & Coming;
export type Call = keyof Calls & string;

type Part<C extends Call, Name extends string> = Calls[C] extends { [N in Name]: infer Value } ? Value : undefined;

export interface Given<C extends Call> {
  path?: Part<C, "path">;
  query?: Part<C, "query">;
  body?: Part<C, "body">;
  /** Instead of a body in JSON: what a person has written or pasted. */
  text?: Part<C, "text">;
  ifMatch?: string;
  signal?: AbortSignal;
  /** The page may be closed before the answer comes. */
  keepalive?: boolean;
}

export type Answered<C extends Call> = Part<C, "answer">;
