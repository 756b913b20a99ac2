// The same numbers as a flow: from the documents that look, on the left, to those looked at, on the right.

import { colour, type Theme } from "../colour/ramp";
import { brief } from "../colour/scale";
import { el, svg } from "../ui/dom";
import type { Between } from "./view";

const WIDTH = 760;
const BLOCK = 12;
const GAP = 10;
const NAMES = 190;
/** Least distance between the names of two blocks. */
const LINE = 16;
const MOST = 40;
/** Bands thinner than this share of their row are not drawn. */
const LEAST = 0.004;
/** Where the bands begin and end. */
const [LEFT, RIGHT] = [NAMES, WIDTH - NAMES];

/** A block at either end: where it begins, how tall it is. */
interface Block {
  readonly y: number;
  readonly thick: number;
  readonly name: string;
}

interface Band {
  readonly from: number;
  readonly to: number;
  readonly thick: number;
  readonly value: number;
  readonly said: string;
}

interface Layout {
  readonly given: readonly Block[];
  readonly received: readonly Block[];
  readonly bands: readonly Band[];
  readonly high: number;
  /** The most that a row gives, for the colours. */
  readonly most: number;
}

/** Bands as wide as the weight; a row that looks has the same height as every other. */
export function flow(between: Between, theme: Theme): HTMLElement {
  const { rows, columns, rowLevel, columnLevel } = between;
  if (rows.count(rowLevel) > MOST || columns.count(columnLevel) > MOST)
    return el("p", { class: "quiet" }, `A flow is drawn of up to ${MOST} rows and columns.`);
  const { given, received, bands, high, most } = layout(between);
  const name = "Flow of attention from rows, left, to columns, right; the table has its numbers";
  return el(
    "div",
    {},
    svg(
      "svg",
      { viewBox: `0 -6 ${WIDTH} ${high + 12}`, role: "img", "aria-label": name },
      ...bands.map((band) => drawn(band, colour(theme, 0.25 + 0.6 * (band.value / most)))),
      ...given.flatMap((block) => end(block, LEFT, "end")),
      ...received.flatMap((block) => end(block, RIGHT - BLOCK, "start")),
    ),
  );
}

// ── Where everything stands ──

function layout({ values, rows, columns, rowLevel, columnLevel }: Between): Layout {
  const [height, width] = [rows.count(rowLevel), columns.count(columnLevel)];
  const value = (row: number, column: number): number => values[row * width + column]!;
  const given = Array.from({ length: height }, (_, row) => sum(width, (column) => value(row, column)));
  const received = Array.from({ length: width }, (_, column) => sum(height, (row) => value(row, column)));
  const tall = Math.max(200, 26 * Math.max(height, width));
  const unit = tall / (sum(height, (row) => given[row]!) || 1);
  const left = blocks(given, unit, (row) => rows.label(rowLevel, row, 24));
  const right = blocks(received, unit, (column) => columns.label(columnLevel, column, 24));
  const bands: Band[] = [];
  const [usedLeft, usedRight] = [left.map(({ y }) => y), right.map(({ y }) => y)];
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const here = value(row, column);
      const [from, to, thick] = [usedLeft[row]!, usedRight[column]!, here * unit];
      usedLeft[row]! += thick;
      usedRight[column]! += thick;
      const said = `${rows.label(rowLevel, row)} → ${columns.label(columnLevel, column)}: ${brief(here)}`;
      if (here >= LEAST * given[row]!) bands.push({ from, to, thick, value: here, said });
    }
  const bottom = ({ y, thick }: Block): number => y + Math.max(thick, LINE);
  return {
    given: left,
    received: right,
    bands,
    high: Math.max(1, ...left.slice(-1).map(bottom), ...right.slice(-1).map(bottom)),
    most: Math.max(...given),
  };
}

function blocks(shares: readonly number[], unit: number, name: (place: number) => string): Block[] {
  let at = 0;
  return shares.map((share, place) => {
    const y = at;
    at += Math.max(share * unit + GAP, LINE);
    return { y, thick: share * unit, name: name(place) };
  });
}

function sum(count: number, value: (place: number) => number): number {
  let all = 0;
  for (let place = 0; place < count; place++) all += value(place);
  return all;
}

// ── What is drawn ──

function drawn({ from, to, thick, said }: Band, fill: string): SVGElement {
  const [x0, x1, bend] = [LEFT + BLOCK, RIGHT - BLOCK, (LEFT + RIGHT) / 2];
  const there = `M${x0} ${from}C${bend} ${from} ${bend} ${to} ${x1} ${to}`;
  const back = `v${thick}C${bend} ${to + thick} ${bend} ${from + thick} ${x0} ${from + thick}z`;
  return svg("path", { d: there + back, fill, "fill-opacity": 0.6 }, svg("title", {}, said));
}

function end({ y, thick, name }: Block, x: number, anchor: "start" | "end"): SVGElement[] {
  const beside = anchor === "end" ? x - 7 : x + BLOCK + 7;
  return [
    svg("rect", { x, y, width: BLOCK, height: Math.max(1, thick), class: "end" }),
    svg("text", { x: beside, y: y + thick / 2, "text-anchor": anchor, "dominant-baseline": "central" }, name),
  ];
}
