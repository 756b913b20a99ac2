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

/** Bands as wide as the weight; a row that looks has the same height as every other. */
export function flow({ values, rows, columns, rowLevel, columnLevel }: Between, theme: Theme): HTMLElement {
  const [height, width] = [rows.count(rowLevel), columns.count(columnLevel)];
  if (height > MOST || width > MOST)
    return el("p", { class: "quiet" }, `A flow is drawn of up to ${MOST} rows and columns.`);
  const received = Array.from({ length: width }, (_, column) =>
    sum(height, (row) => values[row * width + column]!),
  );
  const given = Array.from({ length: height }, (_, row) =>
    sum(width, (column) => values[row * width + column]!),
  );
  const total = sum(height, (row) => given[row]!) || 1;
  const tall = Math.max(200, 26 * Math.max(height, width));
  const ending = (starts: number[], shares: number[]): number =>
    (starts.at(-1) ?? 0) + Math.max(((shares.at(-1) ?? 0) / total) * tall, LINE);
  const left = places(given, total, tall);
  const right = places(received, total, tall);
  const high = Math.max(ending(left, given), ending(right, received), 1);
  const [x0, x1] = [NAMES, WIDTH - NAMES];
  const bands = [];
  const usedLeft = [...left];
  const usedRight = [...right];
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const value = values[row * width + column]!;
      const thick = (value / total) * tall;
      const [y0, y1] = [usedLeft[row]!, usedRight[column]!];
      usedLeft[row]! += thick;
      usedRight[column]! += thick;
      if (value < LEAST * given[row]!) continue;
      const bend = (x0 + x1) / 2;
      const d = `M${x0 + BLOCK} ${y0}C${bend} ${y0} ${bend} ${y1} ${x1 - BLOCK} ${y1}v${thick}C${bend} ${y1 + thick} ${bend} ${y0 + thick} ${x0 + BLOCK} ${y0 + thick}z`;
      const said = `${rows.label(rowLevel, row)} → ${columns.label(columnLevel, column)}: ${brief(value)}`;
      bands.push(
        svg(
          "path",
          { d, fill: colour(theme, 0.25 + 0.6 * (value / Math.max(...given))), "fill-opacity": 0.6 },
          svg("title", {}, said),
        ),
      );
    }
  const end = (x: number, y: number, thick: number, name: string, anchor: string): SVGElement[] => [
    svg("rect", { x, y, width: BLOCK, height: Math.max(1, thick), class: "end" }),
    svg(
      "text",
      {
        x: anchor === "end" ? x - 7 : x + BLOCK + 7,
        y: y + thick / 2,
        "text-anchor": anchor,
        "dominant-baseline": "central",
      },
      name,
    ),
  ];
  const ends = [
    ...given.flatMap((value, row) =>
      end(x0, left[row]!, (value / total) * tall, rows.label(rowLevel, row, 24), "end"),
    ),
    ...received.flatMap((value, column) =>
      end(
        x1 - BLOCK,
        right[column]!,
        (value / total) * tall,
        columns.label(columnLevel, column, 24),
        "start",
      ),
    ),
  ];
  const name = "Flow of attention from rows, left, to columns, right; the table has its numbers";
  return el(
    "div",
    {},
    svg("svg", { viewBox: `0 -6 ${WIDTH} ${high + 12}`, role: "img", "aria-label": name }, ...bands, ...ends),
  );
}

/** Where each block begins. */
function places(shares: readonly number[], total: number, tall: number): number[] {
  let at = 0;
  return shares.map((share) => {
    const start = at;
    at += Math.max((share / total) * tall + GAP, LINE);
    return start;
  });
}

function sum(count: number, value: (place: number) => number): number {
  let all = 0;
  for (let place = 0; place < count; place++) all += value(place);
  return all;
}
