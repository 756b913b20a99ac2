// One row of attention, as a source gives it, or put together from the strongest of all rows that a file holds.

import { type Answer, log8Table } from "../sources/envelope";

export interface Row {
  /** One value for every unit of the other side. */
  readonly values: Float32Array;
  /** 1 where the value is exact, 0 where it is a stretch's mean for colour; null: all are exact. */
  readonly exact: Uint8Array | null;
  readonly unit: string;
  readonly how: string;
  /** Weight on tokens that are in no unit; null where that has no meaning. */
  readonly elsewhere: number | null;
}

export function rowOf(answer: Answer): Row {
  const { unit, how, elsewhere } = answer.head;
  return {
    values: answer.array<Float32Array>("values"),
    exact: null,
    unit: String(unit),
    how: String(how),
    elsewhere: typeof elsewhere === "number" ? elsewhere : null,
  };
}

/** Row `place` out of a `rows` answer: the kept values exactly, the rest as the mean of its stretch. */
export function rowOutOf(answer: Answer, place: number): Row {
  const { unit, how, others, kept } = answer.head as {
    unit: string;
    how: string;
    others: number;
    kept: number;
  };
  const values = new Float32Array(others);
  const exact = new Uint8Array(others);
  const places = answer.array<Uint16Array | Uint32Array>("place");
  const strongest = answer.array<Float32Array>("value");
  const none = 2 ** (8 * places.BYTES_PER_ELEMENT) - 1;
  for (let at = place * kept; at < (place + 1) * kept; at++) {
    if (places[at] === none) continue;
    values[places[at]!] = strongest[at]!;
    exact[places[at]!] = 1;
  }
  const elsewhere = answer.has("elsewhere") ? answer.array<Float32Array>("elsewhere")[place]! : null;
  if (!answer.has("rest")) return { values, exact: null, unit, how, elsewhere };
  spread(answer, place, values, exact);
  return { values, exact, unit, how, elsewhere };
}

/** Give every unit that was not kept the mean of what its stretch holds beside the kept ones. */
function spread(answer: Answer, place: number, values: Float32Array, exact: Uint8Array): void {
  const codes = answer.array<Uint8Array>("rest");
  const bounds = answer.array<Uint32Array>("stretch");
  const meaning = log8Table(answer.scale("rest")!);
  const stretches = bounds.length - 1;
  for (let stretch = 0; stretch < stretches; stretch++) {
    const sum = meaning[codes[place * stretches + stretch]!]!;
    const [start, end] = [bounds[stretch]!, bounds[stretch + 1]!];
    let left = 0;
    for (let unit = start; unit < end; unit++) left += 1 - exact[unit]!;
    for (let unit = start; unit < end; unit++) if (!exact[unit]) values[unit] = sum / left;
  }
}

export interface Ranked {
  readonly unit: number;
  readonly value: number;
}

/** The strongest units whose value is exact and above 0, from high to low; of equal ones the first. */
export function strongest(row: Row, count: number): Ranked[] {
  const best: Ranked[] = [];
  for (let unit = 0; unit < row.values.length; unit++) {
    const value = row.values[unit]!;
    if (!(value > 0) || (row.exact && !row.exact[unit])) continue;
    if (best.length === count && value <= best[count - 1]!.value) continue;
    let at = best.length;
    while (at > 0 && best[at - 1]!.value < value) at--;
    best.splice(at, 0, { unit, value });
    if (best.length > count) best.pop();
  }
  return best;
}
