// The strongest of a row as a list with numbers, and the whole row as a ribbon along the text.

import { colour, MARK, type Theme } from "../colour/ramp";
import { type Scale, written } from "../colour/scale";
import type { Level } from "../state/state";
import type { Row } from "../subject/rows";
import { strongest } from "../subject/rows";
import type { Side } from "../subject/side";
import { el, paint } from "../ui/dom";

export const LISTED = 10;

/** The strongest ten; each goes to its place in the text when pressed. */
export function rankList(row: Row, side: Side, by: Level, go: (unit: number) => void): HTMLElement {
  const ranked = strongest(row, LISTED);
  if (ranked.length === 0) return el("p", { class: "quiet" }, "No weight on any of them.");
  const most = ranked[0]!.value;
  return el(
    "ol",
    { class: "ranks" },
    ...ranked.map(({ unit, value }) => {
      const bar = el("i", { class: "bar", "aria-hidden": "true" });
      paint(bar, { width: `${(100 * value) / most}%` });
      return el(
        "li",
        {},
        el(
          "button",
          { type: "button", onclick: () => go(unit), "data-unit": unit, "data-value": value },
          el("bdi", { class: "name" }, side.label(by, unit, 28)),
          el("span", { class: "place" }, unit),
          el("span", { class: "value" }, written(value)),
          bar,
        ),
      );
    }),
  );
}

/** The row as a line of colours along the text, its strongest value in every column. */
export function ribbon(row: Row, scale: Scale, theme: Theme, place: number | null): HTMLCanvasElement {
  const width = 480;
  const canvas = el("canvas", { class: "ribbon", width, height: 14, "aria-hidden": "true" });
  const context = canvas.getContext("2d")!;
  const units = row.values.length;
  for (let x = 0; x < width && units > 0; x++) {
    const first = Math.floor((x * units) / width);
    const end = Math.max(first + 1, Math.floor(((x + 1) * units) / width));
    let most = 0;
    for (let unit = first; unit < end; unit++) most = Math.max(most, row.values[unit]!);
    context.fillStyle = colour(theme, scale.share(most));
    context.fillRect(x, 0, 1, 14);
  }
  if (place !== null && units > 0) {
    context.fillStyle = MARK;
    context.fillRect(Math.max(0, (width * (place + 0.5)) / units - 1), 0, 2, 14);
  }
  return canvas;
}
