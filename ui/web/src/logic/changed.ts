/** Of all that a form holds, what is not as it was: nobody else's change is written over. */
export function changed<T extends object>(was: T, is: T): Partial<T> {
  const names = Object.keys(is) as (keyof T)[];
  return Object.fromEntries(names.filter((name) => is[name] !== was[name]).map((name) => [name, is[name]])) as Partial<T>;
}
