// Numbers and times as people read them, in their language and zone.

const STEPS = ["", "k", "M", "G", "T", "P"];

function scaled(value: number, base: number): [number, string] {
  let step = 0;
  while (value >= base && step < STEPS.length - 1) {
    value /= base;
    step += 1;
  }
  return [value, STEPS[step] ?? ""];
}

function short(value: number, language: string): string {
  const digits = value < 10 ? 1 : 0;
  return value.toLocaleString(language, { maximumFractionDigits: digits });
}

export function bytes(value: number, language: string): string {
  const [size, prefix] = scaled(value, 1000);
  return `${short(size, language)} ${prefix}B`;
}

/** Bits, as lines are sold; given in bits per second. */
export function rate(bps: number, language: string): string {
  const [size, prefix] = scaled(bps, 1000);
  return `${short(size, language)} ${prefix}bit/s`;
}

export const count = (value: number, language: string): string => value.toLocaleString(language);

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

export function ago(at: string | number, now: number, language: string): string {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return words.format(Math.trunc(seconds / size), unit);
  }
  // A clock that runs ahead by a moment has seen nothing of the future.
  return words.format(0, "second");
}

export function clock(at: string | number, language: string): string {
  return new Date(at).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
}

/** Of today, the time is enough. */
export function moment(at: string, now: number, language: string): string {
  const then = new Date(at);
  const isToday = then.toDateString() === new Date(now).toDateString();
  return then.toLocaleString(language, isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}

export function duration(ms: number, language: string): string {
  const seconds = Math.floor(ms / 1000);
  const [value, unit] =
    seconds < 60 ? [seconds, "second"] : seconds < 3600 ? [Math.floor(seconds / 60), "minute"] : seconds < 86_400 ? [Math.floor(seconds / 3600), "hour"] : [Math.floor(seconds / 86_400), "day"];
  return value.toLocaleString(language, { style: "unit", unit: String(unit), unitDisplay: "narrow" });
}

/** Of what takes seconds nobody counts the thousandths. */
export const milliseconds = (ms: number, language: string): string => (ms < 1000 ? `${ms.toLocaleString(language)} ms` : `${short(ms / 1000, language)} s`);
