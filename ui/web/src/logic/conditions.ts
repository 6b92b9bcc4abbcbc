// Under which conditions a way out may be used, as a form has them and as the gateway takes them.

import type { Mapping, MappingCreate, Target } from "../api/shapes";

export interface Conditions {
  exit_ip: string;
  country: string;
  stable: boolean;
  exclusive: boolean;
  target: Target;
}

export const UNCONDITIONAL: Readonly<Conditions> = { exit_ip: "", country: "", stable: false, exclusive: false, target: "original" };

/** What stands in the pointer of a problem, beside its field. */
export const CONDITION_FIELDS = ["expect", "exclusive", "target"];

type Told = Required<Pick<MappingCreate, "exclusive" | "target">> & { expect: NonNullable<MappingCreate["expect"]> };

export function conditionsOf({ expect, exclusive, target }: Mapping): Conditions {
  return { exit_ip: expect.exit_ip ?? "", country: expect.country ?? "", stable: expect.stable ?? false, exclusive, target };
}

/** What is not wanted is not said. */
export function toldOf(form: Conditions): Told {
  const [exit_ip, country] = [form.exit_ip.trim(), form.country.trim().toUpperCase()];
  const expect = { ...(exit_ip === "" ? {} : { exit_ip }), ...(country === "" ? {} : { country }), ...(form.stable ? { stable: true } : {}) };
  return { expect, exclusive: form.exclusive, target: form.target };
}

/** Of something new, only what differs from what comes by itself. */
export function toldOfNew(form: Conditions): Partial<Told> {
  const { expect, exclusive, target } = toldOf(form);
  return { ...(Object.keys(expect).length === 0 ? {} : { expect }), ...(exclusive ? { exclusive } : {}), ...(target === UNCONDITIONAL.target ? {} : { target }) };
}

export const isConditional = (mapping: Mapping): boolean => mapping.exclusive || Object.keys(toldOf(conditionsOf(mapping)).expect).length > 0;

/** The address to which it is held, where the proxy now comes out somewhere else. */
export function movedFrom(mapping: Mapping, exit_ip: string | null | undefined): string | null {
  const held = mapping.stable_exit_ip ?? null;
  return held !== null && exit_ip && exit_ip !== held ? held : null;
}
