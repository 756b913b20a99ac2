// From a value to its share of the ramp, and back to the numbers under a legend.

export type ScaleKind = "log" | "linear";

/** The logarithmic scale reaches this many powers of ten below the highest value; what is lower is "low". */
export const DECADES = 3;

export interface Scale {
  readonly kind: ScaleKind;
  readonly high: number;
  /** 0 = low, 1 = high. */
  share(value: number): number;
  /** The value at a share. */
  value(share: number): number;
}

export function scale(kind: ScaleKind, high: number): Scale {
  const top = high > 0 && Number.isFinite(high) ? high : 1;
  if (kind === "linear") {
    return {
      kind,
      high: top,
      share: (value) => clipped(value / top),
      value: (share) => share * top,
    };
  }
  return {
    kind,
    high: top,
    share: (value) => (value > 0 ? clipped(1 + Math.log10(value / top) / DECADES) : 0),
    value: (share) => top * 10 ** (DECADES * (share - 1)),
  };
}

const clipped = (share: number): number => (share > 0 ? Math.min(share, 1) : 0);

/** The highest finite number. */
export function highest(values: ArrayLike<number>): number {
  let most = 0;
  for (let place = 0; place < values.length; place++) if (values[place]! > most) most = values[place]!;
  return most;
}

/** A number under a legend: two significant digits. */
export const brief = (value: number): string => (value === 0 ? "0" : String(Number(value.toPrecision(2))));

/** A number for reading: four significant digits, never "0.000". */
export function written(value: number): string {
  if (!Number.isFinite(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
  return size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
