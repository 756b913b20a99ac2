// Numbers of a stage as bars, strips, cells or a table.

import { colour, letters, STEPS, type Theme } from "../colour/ramp";
import { scale } from "../colour/scale";
import { label, shortened } from "../subject/visible";
import { el, paint } from "../ui/dom";
import { Legend } from "../ui/legend";
import { ends, type Figure, numberText } from "./explanation";

const LOWEST = 6;
const HIGHEST = 18;
/** Columns up to which a matrix has its weights written into its cells. */
const WRITTEN = 16;
const NAME = 40;
/** Characters of a sentence, which may hold words of the user. */
const SENTENCE = 1000;

export function figure(numbers: Figure, theme: Theme): HTMLElement {
  const draw = { bars, strip: strips, cells, table: bars }[numbers.picture];
  return el(
    "figure",
    { class: numbers.picture },
    el(
      "figcaption",
      {},
      quoted(numbers.title),
      numbers.unit ? el("span", { class: "quiet" }, ` (${numbers.unit})`) : null,
    ),
    draw(numbers, theme),
  );
}

/** A sentence of ours with the user's words between “ and ”: each keeps its direction to itself. */
export function quoted(sentence: string): HTMLElement {
  const parts = shortened(sentence, SENTENCE)
    .split(/(“[^“”]*”)/)
    .map((part) => {
      if (!part.startsWith("“")) return part;
      return el("span", {}, "“", el("bdi", {}, label(part.slice(1, -1), NAME)), "”");
    });
  return el("span", {}, ...parts);
}

function bars(numbers: Figure): HTMLElement {
  const drawn = numbers.values.map((row) => row[0] ?? 0);
  const [low, high] = [Math.min(0, ...drawn), Math.max(0, ...drawn)];
  const withBars = numbers.picture === "bars";
  const line = (row: number): HTMLElement =>
    el(
      "tr",
      { class: numbers.marked.includes(row) ? "marked" : null },
      el("th", { scope: "row" }, el("bdi", {}, label(numbers.rows[row]!, NAME))),
      withBars && el("td", { class: "drawn" }, bar(drawn[row]!, low, high - low || 1)),
      ...numbers.values[row]!.map((value) => el("td", { "data-value": value }, numberText(value))),
    );
  const body = ends(numbers, LOWEST, HIGHEST).map(({ row, hidden }) =>
    row >= 0
      ? line(row)
      : el(
          "tr",
          { class: "gap" },
          el("td", { colspan: numbers.columns.length + 1 + Number(withBars) }, `… ${hidden} between`),
        ),
  );
  const heads = numbers.columns.map((column) => el("th", { scope: "col" }, label(column, NAME)));
  return wide(
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, el("td", {}), withBars && el("td", {}), ...heads)),
      el("tbody", {}, ...body),
    ),
  );
}

function bar(value: number, low: number, span: number): HTMLElement {
  const made = el("i", { class: value < 0 ? "stroke negative" : "stroke positive", "aria-hidden": "true" });
  const start = ((Math.min(value, 0) - low) / span) * 100;
  paint(made, { "margin-left": `${start}%`, width: `${(Math.abs(value) / span) * 100}%` });
  return made;
}

/** Vectors, a feature a column: blue above zero, orange below. */
function strips(numbers: Figure, theme: Theme): HTMLElement {
  return el(
    "div",
    {},
    el("p", { class: "quiet" }, "A column a feature: blue above 0, orange below, deepest at the largest."),
    ...numbers.rows.map((name, row) => {
      const values = numbers.values[row]!.filter((value) => value !== null);
      const length = Math.hypot(...values);
      const facts = `${values.length} features, ‖·‖ ${numberText(length)}, from ${numberText(Math.min(...values))} to ${numberText(Math.max(...values))}`;
      return el(
        "div",
        {},
        el(
          "div",
          { class: "strip-line" },
          el("bdi", {}, label(name, NAME)),
          el("span", { class: "quiet" }, facts),
        ),
        strip(values, theme),
      );
    }),
  );
}

const SIGNED = {
  light: { zero: [241, 242, 238], above: [26, 99, 152], below: [194, 74, 28] },
  dark: { zero: [35, 39, 50], above: [143, 208, 255], below: [255, 154, 107] },
} as const;

function strip(values: readonly number[], theme: Theme): HTMLCanvasElement {
  const canvas = el("canvas", {
    class: "vector",
    width: Math.max(1, values.length),
    height: 1,
    "aria-hidden": "true",
  });
  const most = Math.max(...values.map(Math.abs)) || 1;
  const { zero, above, below } = SIGNED[theme];
  const context = canvas.getContext("2d")!;
  values.forEach((value, x) => {
    const end = value < 0 ? below : above;
    const mixed = zero.map((part, at) => Math.round(part + (end[at]! - part) * (Math.abs(value) / most)));
    context.fillStyle = `rgb(${mixed.join(" ")})`;
    context.fillRect(x, 0, 1, 1);
  });
  return canvas;
}

/** A matrix: weights between 0 and 1 in the ramp's colours, or a mask without unit as open and closed. */
function cells(numbers: Figure, theme: Theme): HTMLElement {
  const mask = numbers.unit === "";
  const written = !mask && numbers.columns.length <= WRITTEN;
  const cell = (value: number, row: number, column: number): HTMLElement => {
    const names = `${label(numbers.rows[row]!, 20)} → ${label(numbers.columns[column]!, 20)}`;
    const share = mask ? 0 : Math.round(value * (STEPS - 1)) / (STEPS - 1);
    const made = el(
      "td",
      {
        class: mask ? (value ? "open" : "closed") : `on-${letters(theme, share)}`,
        "data-value": value,
        title: `${names}: ${mask ? (value ? "may attend" : "closed") : numberText(value)}`,
      },
      written && value >= 0.005 ? value.toFixed(2).replace(/^0/, "") : "",
    );
    if (!mask) paint(made, { background: colour(theme, share) });
    return made;
  };
  const heads = numbers.columns.map((column) =>
    el("th", { scope: "col" }, el("span", {}, el("bdi", {}, label(column, 14)))),
  );
  const body = numbers.values.map((row, at) =>
    el(
      "tr",
      { class: numbers.marked.includes(at) ? "marked" : null },
      el("th", { scope: "row" }, el("bdi", {}, label(numbers.rows[at]!, 20))),
      ...row.map((value, column) => cell(value ?? 0, at, column)),
    ),
  );
  const kind = `grid${written ? " written" : ""}`;
  const legend = new Legend();
  legend.show(scale("linear", 1), theme, numbers.unit);
  return el(
    "div",
    {},
    wide(
      el(
        "table",
        { class: kind },
        el("thead", {}, el("tr", {}, el("td", {}), ...heads)),
        el("tbody", {}, ...body),
      ),
    ),
    !mask && legend.element,
    mask &&
      el(
        "p",
        { class: "quiet key" },
        el("i", { class: "open" }),
        " may attend ",
        el("i", { class: "closed" }),
        " closed",
      ),
  );
}

const wide = (table: HTMLElement): HTMLElement =>
  el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Numbers" }, table);
