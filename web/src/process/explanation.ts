// What `limelight explain` hands over: stages, each with formula, shapes, numbers and one check.

import { shortened } from "../subject/visible";

export type Value = number | null;

const LONGEST = 1000;

export interface Figure {
  readonly title: string;
  readonly picture: "bars" | "strip" | "cells" | "table";
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly values: readonly (readonly Value[])[];
  readonly unit: string;
  readonly marked: readonly number[];
}

export interface Check {
  readonly compared: string;
  readonly difference: number | null;
  readonly tolerance: number;
  readonly ok: boolean;
}

export interface Stage {
  readonly part: string;
  readonly name: string;
  readonly formula: string;
  readonly source: string;
  readonly shapes: readonly (readonly [string, readonly number[]])[];
  readonly text: string;
  readonly numbers: readonly Figure[];
  readonly check: Check;
}

export interface Explanation {
  readonly text: string;
  readonly answer: string;
  readonly model: string;
  readonly choice: readonly string[];
  readonly stages: readonly Stage[];
}

/** As it came, with every unseen sign written out and no text longer than anyone reads. */
export function readable(told: unknown): Explanation {
  return JSON.parse(JSON.stringify(told), (_, value) =>
    typeof value === "string" ? shortened(value, LONGEST) : value,
  );
}

/** "q: B 1 · H 4 · N 9 · D 16": a name that wears its letters, with the size of each. */
export function shapeText(name: string, sizes: readonly number[]): string {
  const cut = name.lastIndexOf("_");
  const letters = name.slice(cut + 1);
  if (cut < 1 || letters.length !== sizes.length) return `${name}: ${sizes.join(" × ")}`;
  return `${name.slice(0, cut)}: ${sizes.map((size, place) => `${letters[place]} ${size}`).join(" · ")}`;
}

export function checkText({ compared, difference, tolerance }: Check): string {
  if (difference === null) return `${compared}: not a number, or of another shape`;
  const found = difference === 0 ? "0" : difference.toPrecision(2);
  return `${compared}: ${found} (allowed: ${tolerance === 0 ? "0" : tolerance.toExponential(0)})`;
}

/** The number as the terminal writes it; a masked or missing cell is a dash. */
export function numberText(value: Value): string {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  if (size >= 1e4 && size < 1e6) return value.toFixed(0);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** Rows that are shown of a long list: both ends and what is marked; a number stands for so many left out. */
export function ends(figure: Figure, lowest: number, highest: number): { row: number; hidden: number }[] {
  const count = figure.rows.length;
  const kept = new Set(figure.marked);
  for (let row = 0; row < count; row++) if (row < lowest || row >= count - highest) kept.add(row);
  const shown: { row: number; hidden: number }[] = [];
  let last = -1;
  for (const row of [...kept].sort((one, other) => one - other)) {
    if (row > last + 1) shown.push({ row: -1, hidden: row - last - 1 });
    shown.push({ row, hidden: 0 });
    last = row;
  }
  return shown;
}
