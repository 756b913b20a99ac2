// From a value to its share of the ramp, and back to the numbers under a legend.

export type ScaleKind = "log" | "linear";

/** The logarithmic scale reaches so many powers of ten below the highest value; what is lower is "low". */
export const DECADES = 3;
/** Of numbers that lie close together it reaches down to the lowest, but no less than this. */
const LEAST_DECADES = 1;

export interface Scale {
  readonly kind: ScaleKind;
  readonly high: number;
  /** 0 = low, 1 = high. */
  share(value: number): number;
  /** The value at a share. */
  value(share: number): number;
}

/** `low`: the lowest number above 0, where it is known. */
export function scale(kind: ScaleKind, high: number, low = 0): Scale {
  const top = high > 0 && Number.isFinite(high) ? high : 1;
  if (kind === "linear") {
    return {
      kind,
      high: top,
      share: (value) => clipped(value / top),
      value: (share) => share * top,
    };
  }
  const decades = low > 0 ? Math.min(DECADES, Math.max(LEAST_DECADES, Math.log10(top / low))) : DECADES;
  return {
    kind,
    high: top,
    share: (value) => (value > 0 ? clipped(1 + Math.log10(value / top) / decades) : 0),
    value: (share) => top * 10 ** (decades * (share - 1)),
  };
}

const clipped = (share: number): number => (share > 0 ? Math.min(share, 1) : 0);

/** The highest finite number. */
export function highest(values: ArrayLike<number>): number {
  let most = 0;
  for (let place = 0; place < values.length; place++) if (values[place]! > most) most = values[place]!;
  return most;
}

/** The scale of a row: from its lowest number above 0 to its highest. */
export function scaleOf(kind: ScaleKind, values: ArrayLike<number>): Scale {
  const high = highest(values);
  let low = high;
  for (let place = 0; place < values.length; place++)
    if (values[place]! > 0 && values[place]! < low) low = values[place]!;
  return scale(kind, high, low);
}

/** A number under a legend: two significant digits, short enough to stand beside the next one. */
export function brief(value: number): string {
  const near = Number(value.toPrecision(2));
  return near !== 0 && Math.abs(near) < 1e-3 ? near.toExponential(1).replace(".0", "") : String(near);
}

/** A number for reading: four significant digits, never "0.000". */
export function written(value: number): string {
  if (!Number.isFinite(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
  return size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
