// Which rows of a long table are seen, with some above and below for the next turn of the wheel.

const SPARE = 8;

export function windowOf(scrolled: number, height: number, line: number, count: number): { from: number; to: number } {
  const first = Math.floor(Math.max(scrolled, 0) / line);
  const from = Math.max(0, Math.min(first, count) - SPARE);
  return { from, to: Math.min(count, first + Math.ceil(height / line) + SPARE) };
}
