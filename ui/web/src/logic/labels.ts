// Labels as they are typed: "site=hall-2, contract=2027".

export type Labels = Record<string, string>;

export const labelText = (labels: Labels): string => Object.entries(labels).map(([key, value]) => (value === "" ? key : `${key}=${value}`)).join(", ");

/** A label may have no value; of one that is there twice the last counts. */
export function labelsOf(text: string): Labels {
  const parts = text.split(/[,\n]/).map((part) => part.trim()).filter((part) => part !== "");
  return Object.fromEntries(parts.map((part) => {
    const at = part.indexOf("=");
    return at < 0 ? [part, ""] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
  }));
}

export const sameLabels = (one: Labels, other: Labels): boolean => {
  const sorted = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort());
  return sorted(one) === sorted(other);
};
