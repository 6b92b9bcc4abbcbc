/** "{count} {count~device~devices}": values, and words that follow their number. */
export function fill(text: string, values: Record<string, string | number>, language: string): string {
  return text.replace(/\{(\w+)(?:~([^~}]*)~([^~}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (one !== undefined && many !== undefined) return new Intl.PluralRules(language).select(Number(value)) === "one" ? one : many;
    return typeof value === "number" ? value.toLocaleString(language) : value;
  });
}
