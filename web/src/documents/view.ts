// Documents: how much attention goes from which document (or sentence) to which, as a table and as a flow.

import { colour, letters } from "../colour/ramp";
import { brief, type Scale, scaleOf } from "../colour/scale";
import type { Answer } from "../sources/envelope";
import { isAbort, Refusal } from "../sources/source";
import type { Level, State, Weigh } from "../state/state";
import type { Side } from "../subject/side";
import { sliceName } from "../subject/slices";
import { nameTold, unitTold } from "../subject/weighs";
import { scaleControl } from "../ui/common";
import type { Context, Seen, View } from "../ui/context";
import { Select } from "../ui/controls";
import { el, fill, paint } from "../ui/dom";
import { Legend } from "../ui/legend";
import { flow } from "./flow";

/** A table is drawn up to so many rows and columns; the file of numbers holds all. */
const MOST_ROWS = 60;
const MOST_COLUMNS = 24;

const LEVELS = [
  { value: "document", name: "document" },
  { value: "sentence", name: "sentence" },
  { value: "word", name: "word" },
];

export interface Between {
  readonly values: Float32Array;
  readonly rows: Side;
  readonly columns: Side;
  readonly rowLevel: Level;
  readonly columnLevel: Level;
  readonly weigh: Weigh;
  readonly unit: string;
}

export class DocumentsView implements View {
  readonly element = el("div", { class: "documents-view" });
  readonly controls: readonly HTMLElement[];
  private readonly field = el("div", { class: "documents-field" });
  private readonly panel = el("aside", { class: "panel", "aria-label": "What the table says" });
  private readonly legend = new Legend();
  private readonly rows: Select;
  private readonly columns: Select;
  private readonly scaling;
  private shown: Between | null = null;
  private asking = new AbortController();

  constructor(private readonly context: Context) {
    const { store } = context;
    this.rows = new Select("From each", LEVELS, (value) => store.set({ rows: value as Level }));
    this.columns = new Select("to each", LEVELS, (value) => store.set({ columns: value as Level }));
    this.scaling = scaleControl(context);
    this.controls = [this.rows.element, this.columns.element, this.scaling.element];
    fill(this.element, this.field, this.panel);
  }

  show(state: State): void {
    this.rows.set(state.rows);
    this.columns.set(state.columns);
    this.scaling.show(state);
    void this.ask(state);
  }

  seen(): Seen | null {
    if (!this.shown) return null;
    const { values, rows, columns, rowLevel, columnLevel, weigh, unit } = this.shown;
    const width = columns.count(columnLevel);
    const heads = Array.from({ length: width }, (_, place) => columns.label(columnLevel, place, 80));
    const lines = Array.from({ length: rows.count(rowLevel) }, (_, place) => [
      rows.label(rowLevel, place, 80),
      ...values.subarray(place * width, (place + 1) * width),
    ]);
    const name = nameTold(`${rowLevel}s-by-${columnLevel}s`, weigh);
    return { name, table: [[unit, ...heads], ...lines] };
  }

  close(): void {
    this.asking.abort();
  }

  private async ask(state: State): Promise<void> {
    const attention = this.context.attention();
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const answer = await this.context.questions.between(
        attention.number,
        state.slice,
        state.rows,
        state.columns,
        state.weigh,
        signal,
      );
      if (this.context.store.state !== state) return;
      this.shown = {
        values: answer.array<Float32Array>("values"),
        rows: attention.query,
        columns: attention.key,
        rowLevel: state.rows,
        columnLevel: state.columns,
        weigh: state.weigh,
        unit: unitTold(String(answer.head.unit), state.weigh),
      };
      this.draw(state, answer, this.shown);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      if (!(error instanceof Refusal)) throw error;
      this.shown = null;
      fill(this.field);
      fill(this.panel, el("h2", {}, "Not here"), el("p", { class: "refusal" }, error.message));
    }
  }

  private draw(state: State, answer: Answer, between: Between): void {
    const { values } = between;
    const shown = scaleOf(state.scale, values);
    const attention = this.context.attention();
    fill(
      this.field,
      el("section", { "aria-label": "Table" }, this.table(between, shown)),
      el("section", { "aria-label": "Flow", class: "flow" }, flow(between, this.context.theme())),
    );
    this.legend.show(shown, this.context.theme(), between.unit);
    fill(
      this.panel,
      el("h2", {}, "Who attends to whom"),
      el("p", { class: "quiet" }, sliceName(state.slice, attention)),
      el(
        "p",
        { class: "quiet" },
        `A row is a ${state.rows} that looks; a column a ${state.columns} that is looked at.`,
      ),
      this.legend.element,
      el("p", { class: "how" }, String(answer.head.how)),
    );
  }

  private table({ values, rows, columns, rowLevel, columnLevel }: Between, shown: Scale): HTMLElement {
    const [height, width] = [rows.count(rowLevel), columns.count(columnLevel)];
    const [lines, across] = [Math.min(height, MOST_ROWS), Math.min(width, MOST_COLUMNS)];
    const theme = this.context.theme();
    const heads = Array.from({ length: across }, (_, column) =>
      el("th", { scope: "col" }, el("bdi", {}, columns.label(columnLevel, column, 18))),
    );
    const cell = (row: number, column: number): HTMLElement => {
      const value = values[row * width + column]!;
      const share = shown.share(value);
      const made = el("td", { "data-value": value, class: `on-${letters(theme, share)}` }, brief(value));
      paint(made, { background: colour(theme, share) });
      return made;
    };
    const body = Array.from({ length: lines }, (_, row) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, el("bdi", {}, rows.label(rowLevel, row, 30))),
        ...Array.from({ length: across }, (_, column) => cell(row, column)),
      ),
    );
    const cut = height > lines || width > across;
    return el(
      "table",
      { class: "between" },
      el(
        "caption",
        {},
        cut
          ? `The first ${lines} of ${height} rows and ${across} of ${width} columns; a CSV file holds all.`
          : "Rows attend to columns",
      ),
      el("thead", {}, el("tr", {}, el("td", {}), ...heads)),
      el("tbody", {}, ...body),
    );
  }
}
