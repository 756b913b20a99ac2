// Along the two sides of the map: names of what can be told apart, and lines where words, sentences, documents end.

import type { Level } from "../state/state";
import type { Side } from "../subject/side";

/** Pixels that a name takes across its line. */
const NAME = 13;
/** Pixels a unit must have on average for its borders to be drawn. */
const ROOM = { word: 26, sentence: 18, document: 3 } as const;
const LEVELS: readonly Level[] = ["token", "word", "sentence", "document"];

export interface Span {
  readonly unit: number;
  /** In pixels from the start of the axis. */
  readonly start: number;
  readonly end: number;
}

/** Where an axis stands: pixels a token, and the pixel at which token 0 begins. */
export interface Axis {
  readonly side: Side;
  readonly scale: number;
  readonly origin: number;
  readonly length: number;
}

/** The finest level whose units have room for a name; null: not even documents have. */
export function named(axis: Axis): Level | null {
  return (
    LEVELS.find((level) => room(axis, level) >= NAME) ?? (axis.side.count("document") > 1 ? "document" : null)
  );
}

/** The units of a level that are in sight. */
export function inSight({ side, scale, origin, length }: Axis, level: Level): Span[] {
  const tokens = side.tokensOf(level);
  const spans: Span[] = [];
  let unit = firstEndingAfter(tokens, -origin / scale);
  for (; unit < tokens.length / 2; unit++) {
    const start = origin + tokens[2 * unit]! * scale;
    if (start > length) break;
    if (tokens[2 * unit + 1]! > 0) spans.push({ unit, start, end: origin + tokens[2 * unit + 1]! * scale });
  }
  return spans;
}

/** Lines to draw, the weakest first: [pixel, strength 0 … 2]. */
export function borders(axis: Axis): [number, number][] {
  const levels = (["word", "sentence", "document"] as const).filter(
    (level) => room(axis, level) >= ROOM[level],
  );
  return levels.flatMap((level) =>
    inSight(axis, level)
      .filter(({ unit }) => unit > 0)
      .map(({ start }): [number, number] => [start, ["word", "sentence", "document"].indexOf(level)]),
  );
}

/** Names that do not stand on one another. */
export function names(
  axis: Axis,
  level: Level,
): (Span & { readonly name: string; readonly middle: number })[] {
  const shown = [];
  let last = Number.NEGATIVE_INFINITY;
  for (const span of inSight(axis, level)) {
    const middle = (Math.max(span.start, 0) + Math.min(span.end, axis.length)) / 2;
    if (middle - last < NAME) continue;
    last = middle;
    shown.push({ ...span, middle, name: axis.side.label(level, span.unit, 16) });
  }
  return shown;
}

const room = ({ side, scale }: Axis, level: Level): number =>
  (scale * side.count("token")) / Math.max(1, side.count(level));

/** The first unit that ends after a token. */
function firstEndingAfter(tokens: Uint32Array, token: number): number {
  let low = 0;
  let high = tokens.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tokens[2 * middle + 1]! <= token) low = middle + 1;
    else high = middle;
  }
  return low;
}
