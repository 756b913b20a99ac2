// Heads: layers × heads, each as a small picture of its matrix or as one number; choose one, several, or a mean.

import { colourRgb, letters, type Theme } from "../colour/ramp";
import { brief, highest, type Scale, scale, written } from "../colour/scale";
import type { Answer } from "../sources/envelope";
import { Refusal } from "../sources/source";
import type { State } from "../state/state";
import type { Attention } from "../subject/about";
import { offered, sliceName, toggled } from "../subject/slices";
import { scaleControl } from "../ui/common";
import type { Context, Seen, View } from "../ui/context";
import { button, Choices, Select } from "../ui/controls";
import { el, fill, paint } from "../ui/dom";
import { Legend } from "../ui/legend";

/** The measure that is no number: every head's matrix, small. */
export const PICTURE = "picture";

/** The widest that names, a picture and a number become. */
const NAMES_REM = 8;
const PICTURE_REM = 9;
const NUMBER_REM = 5;

interface Cells {
  readonly kind: "picture" | "number";
  readonly answer: Answer;
  /** All its numbers, decoded once. */
  readonly values: Float32Array;
  readonly scale: Scale;
  /** Lowest number of the ramp's low end; of pictures 0. */
  readonly low: number;
}

export class HeadsView implements View {
  readonly element = el("div", { class: "heads-view" });
  readonly controls: readonly HTMLElement[];
  private readonly measures: Select;
  private readonly several: Choices;
  private readonly scaling;
  private readonly grid = el("div", { class: "heads-field" });
  private readonly panel = el("aside", { class: "panel", "aria-label": "The chosen heads" });
  private readonly legend = new Legend();
  private many = false;
  private cells: Cells | null = null;
  private refusal = "";

  constructor(private readonly context: Context) {
    const { store } = context;
    this.measures = new Select("Show", [], (value) => store.set({ measure: value }));
    this.scaling = scaleControl(context);
    this.several = new Choices(
      "A press chooses",
      [
        { value: "one", name: "choose one" },
        { value: "many", name: "choose several" },
      ],
      (value) => {
        this.many = value === "many";
      },
    );
    this.several.set("one");
    this.controls = [this.measures.element, this.several.element, this.scaling.element];
    fill(this.element, this.grid, this.panel);
  }

  show(state: State, before: State | null): void {
    const attention = this.context.attention();
    if (before?.attention !== state.attention)
      this.measures.offer([
        { value: PICTURE, name: "small pictures" },
        ...attention.measures.map(({ name, unit }) => ({ value: name, name: `${name} (${unit})` })),
      ]);
    this.measures.set(state.measure);
    this.scaling.show(state);
    this.scaling.element.hidden = state.measure !== PICTURE;
    this.refusal = "";
    void this.ask(state, attention);
  }

  seen(): Seen | null {
    const { cells } = this;
    const attention = this.context.attention();
    const { measure } = this.context.store.state;
    if (!cells) return null;
    if (cells.kind === "number") {
      const { values } = cells;
      const most = cells.answer.shape("values")[1]!;
      const lines = attention.layers.flatMap(({ layer, heads }, row) =>
        Array.from({ length: heads }, (_, head) => [layer, head, values[row * most + head]!]),
      );
      return {
        name: `heads-${measure}`,
        table: [["layer", "head", `${measure} (${cells.answer.head.unit})`], ...lines],
      };
    }
    const { values } = cells;
    const [, most, rows, columns] = cells.answer.shape("cells") as [number, number, number, number];
    const lines = attention.layers.flatMap(({ layer, heads }, at) =>
      Array.from({ length: heads * rows * columns }, (_, cell) => {
        const head = Math.floor(cell / (rows * columns));
        const [row, column] = [Math.floor(cell / columns) % rows, cell % columns];
        return [layer, head, row, column, values[((at * most + head) * rows + row) * columns + column]!];
      }),
    );
    return {
      name: "heads-pictures",
      table: [["layer", "head", "row", "column", "mean weight (for colour)"], ...lines],
    };
  }

  close(): void {}

  private async ask(state: State, attention: Attention): Promise<void> {
    const { questions } = this.context;
    const picture = state.measure === PICTURE;
    try {
      const answer = await (picture
        ? questions.thumbs(attention.number)
        : questions.heads(attention.number, state.measure));
      if (this.context.store.state !== state) return;
      if (picture) {
        const values = answer.numbers("cells");
        this.cells = { kind: "picture", answer, values, scale: scale(state.scale, highest(values)), low: 0 };
      } else {
        const [low, high] = [Math.min(0, Number(answer.head.low)), Number(answer.head.high)];
        const values = answer.array<Float32Array>("values");
        this.cells = { kind: "number", answer, values, scale: scale("linear", high - low), low };
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (this.context.store.state !== state) return;
      this.cells = null;
      this.refusal = error.message;
    }
    this.draw(state, attention);
  }

  // ── What is drawn ──

  private draw(state: State, attention: Attention): void {
    const focused = (document.activeElement as HTMLElement | null)?.dataset.slice;
    const most = Math.max(...attention.layers.map(({ heads }) => heads));
    const heads = Array.from({ length: most }, (_, head) => el("th", { scope: "col" }, head));
    const rows = attention.layers.map(({ layer, name, heads: count }, row) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, this.chooser(String(layer), name || `layer ${layer}`, state)),
        ...Array.from({ length: count }, (_, head) =>
          el("td", {}, this.cell(row, head, `${layer}.${head}`, state)),
        ),
      ),
    );
    const all = this.chooser("mean", "mean over all", state);
    const width = NAMES_REM + most * (this.cells?.kind === "number" ? NUMBER_REM : PICTURE_REM);
    fill(
      this.grid,
      el(
        "table",
        { class: `heads ${this.cells?.kind ?? ""}`, style: { "max-width": `${width}rem` } },
        el("caption", {}, "Layers from top to bottom, heads from left to right"),
        el("thead", {}, el("tr", {}, el("td", {}, all), ...heads)),
        el("tbody", {}, ...rows),
      ),
    );
    fill(this.panel, ...this.told(state, attention));
    if (focused) this.grid.querySelector<HTMLElement>(`[data-slice="${focused}"]`)?.focus();
  }

  private chooser(slice: string, name: string, state: State): HTMLButtonElement {
    return button(name, () => this.choose(slice), {
      class: "whole",
      "data-slice": slice,
      "aria-pressed": state.slice === slice,
    });
  }

  private cell(row: number, head: number, slice: string, state: State): HTMLElement {
    const { cells } = this;
    const chosen = state.slice.split(",").includes(slice);
    const attributes = { "data-slice": slice, "aria-pressed": chosen, onclick: () => this.choose(slice) };
    const name = `layer ${slice.replace(".", ", head ")}`;
    if (!cells) return el("button", { type: "button", class: "head", "aria-label": name, ...attributes });
    if (cells.kind === "number") {
      const value = cells.values[row * cells.answer.shape("values")[1]! + head]!;
      const share = Number.isNaN(value) ? 0 : cells.scale.share(value - cells.low);
      const theme = this.context.theme();
      const made = el(
        "button",
        {
          type: "button",
          class: "head",
          "data-value": value,
          "aria-label": `${name}: ${written(value)}`,
          ...attributes,
        },
        Number.isNaN(value) ? "–" : brief(value),
      );
      paint(made, { background: `rgb(${colourRgb(theme, share).join(" ")})` });
      made.classList.add(`on-${letters(theme, share)}`);
      return made;
    }
    const picture = thumb(cells, row, head, this.context.theme());
    return el(
      "button",
      { type: "button", class: "head", "aria-label": name, title: name, ...attributes },
      picture,
    );
  }

  private choose(slice: string): void {
    const { store } = this.context;
    const wanted = this.many && slice.includes(".") ? toggled(store.state.slice, slice) : slice;
    if (offered(wanted, this.context.attention())) store.set({ slice: wanted });
    else {
      this.refusal = this.context.about.said || "These heads cannot be shown together.";
      this.draw(store.state, this.context.attention());
    }
  }

  private told(state: State, attention: Attention): (Node | null)[] {
    const { cells } = this;
    const { store } = this.context;
    if (cells) {
      const unit = cells.kind === "picture" ? "mean weight" : `${state.measure} (${cells.answer.head.unit})`;
      this.legend.show(cells.scale, this.context.theme(), unit);
    }
    return [
      el("h2", {}, sliceName(state.slice, attention)),
      el("p", { class: "quiet" }, "What Text, Map and Documents look through."),
      el(
        "div",
        { class: "row" },
        button("In the text", () => store.set({ view: "text" }), { class: "small" }),
        button("As a map", () => store.set({ view: "map" }), { class: "small" }),
      ),
      this.refusal ? el("p", { class: "refusal" }, this.refusal) : null,
      cells && this.legend.element,
      cells ? el("p", { class: "how" }, String(cells.answer.head.how ?? "")) : null,
    ];
  }
}

/** One head's matrix, a pixel a cell. */
function thumb(
  { answer, values, scale: shown }: Cells,
  layer: number,
  head: number,
  theme: Theme,
): HTMLCanvasElement {
  const [, most, rows, columns] = answer.shape("cells") as [number, number, number, number];
  const canvas = el("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  const start = (layer * most + head) * rows * columns;
  for (let cell = 0; cell < rows * columns; cell++)
    image.data.set([...colourRgb(theme, shown.share(values[start + cell]!)), 255], 4 * cell);
  context.putImageData(image, 0, 0);
  return canvas;
}
