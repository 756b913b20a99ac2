// Text: choose a word, and all others take the colour of their attention, from it or to it.

import { type Scale, scale, scaleOf, written } from "../colour/scale";
import { isAbort, Refusal } from "../sources/source";
import {
  type Choice,
  chosen,
  type Direction,
  type Level,
  MOST_PINS,
  type State,
  type Weigh,
} from "../state/state";
import type { Row } from "../subject/rows";
import { strongest } from "../subject/rows";
import type { Side } from "../subject/side";
import { sliceName } from "../subject/slices";
import { nameTold, unitTold } from "../subject/weighs";
import { byControl, directionControl, levelControl, scaleControl } from "../ui/common";
import type { Context, Seen, View } from "../ui/context";
import { button } from "../ui/controls";
import { el, fill } from "../ui/dom";
import { Legend } from "../ui/legend";
import { Tip } from "../ui/tip";
import { TextPane } from "./pane";
import { Pins } from "./pins";
import { rankList, ribbon } from "./ranks";
import { found, Search } from "./search";

export class TextView implements View {
  readonly element = el("div", { class: "text-view" });
  readonly controls: readonly HTMLElement[];
  private readonly common;
  private readonly panes: TextPane[] = [];
  private readonly panel = el("aside", { class: "panel", "aria-label": "The chosen word" });
  private readonly legend = new Legend();
  private readonly pins: Pins;
  private readonly tip = new Tip();
  private readonly search: Search;
  private asking = new AbortController();
  /** What is painted now, on which side and in which units, and for which question. */
  private row: Row | null = null;
  private painted: { readonly side: Side; readonly by: Level; readonly weigh: Weigh } | null = null;
  private choice: Choice | null = null;
  /** The unit that was pressed: it is in sight. */
  private pressed: number | null = null;
  private scale: Scale = scale("log", 1);

  constructor(private readonly context: Context) {
    const { store } = context;
    this.common = [
      levelControl(context),
      byControl(context),
      directionControl(context),
      scaleControl(context),
    ];
    this.search = new Search(
      (words) => found(this.own(store.state), store.state.level, words),
      (unit) => this.choose(unit, true),
    );
    this.controls = this.common.map((control) => control.element);
    this.pins = new Pins(context);
    this.lay();
  }

  show(state: State, before: State | null): void {
    for (const control of this.common) control.show(state);
    if (before && before.attention !== state.attention) this.lay();
    if (before && (before.level !== state.level || before.direction !== state.direction))
      this.search.forget();
    void this.paint(state, before);
    void this.pins.show(state.pins, state.by, state.weigh);
  }

  focusSearch(): void {
    this.search.focus();
  }

  seen(): Seen | null {
    const { row, choice, painted } = this;
    if (!row || !painted) return null;
    const { side, by, weigh } = painted;
    const name = choice
      ? `${this.sideOf(choice.direction).label(choice.level, choice.place)}-${choice.direction}`
      : "received";
    const lines = Array.from(row.values, (value, unit) => [
      unit,
      side.label(by, unit, 60),
      value,
      row.exact && !row.exact[unit] ? "mean of a stretch" : "exact",
    ]);
    return {
      name: nameTold(`text-${name}`, weigh),
      table: [["number", by, row.unit, "precision"], ...lines],
    };
  }

  close(): void {
    this.asking.abort();
    for (const pane of this.panes) pane.close();
  }

  // ── What is chosen ──

  /** The side that units are chosen on. */
  private own(state: State): Side {
    return this.sideOf(state.direction);
  }

  private other(state: State): Side {
    return this.sideOf(state.direction === "from" ? "to" : "from");
  }

  private sideOf(direction: Direction): Side {
    const attention = this.context.attention();
    return direction === "from" ? attention.query : attention.key;
  }

  private choose(unit: number, bringIntoSight: boolean, side?: Side): void {
    const { store } = this.context;
    const attention = this.context.attention();
    this.pressed = bringIntoSight ? null : unit;
    if (attention.one || !side) store.set({ place: unit });
    else store.set({ place: unit, direction: side === attention.query ? "from" : "to" });
    const pane = this.panes.find((one) => one.side === this.own(store.state));
    pane?.stand(unit, bringIntoSight);
  }

  // ── What is seen ──

  private lay(): void {
    for (const pane of this.panes) pane.close();
    [this.row, this.painted] = [null, null];
    const attention = this.context.attention();
    const sides = attention.one ? [attention.query] : [attention.key, attention.query];
    this.panes.length = 0;
    for (const side of sides) this.panes.push(this.pane(side));
    const columns = this.panes.map((pane) =>
      el("section", { class: "column" }, sides.length > 1 && el("h2", {}, pane.side.name), pane.element),
    );
    fill(
      this.element,
      el("div", { class: `columns of-${columns.length}` }, ...columns),
      this.panel,
      this.pins.element,
      this.tip.element,
    );
    if (!this.search.element.isConnected) fill(this.panel, this.search.element);
    const { level, by } = this.context.store.state;
    const bare = { level: by, shares: null, marked: [], theme: this.context.theme() };
    for (const pane of this.panes) pane.colour(bare, level); // the text can be read before any number is there
  }

  private pane(side: Side): TextPane {
    const pane: TextPane = new TextPane(side, side.name || "Text", {
      choose: (unit) => this.choose(unit, false, side),
      hover: (unit, where) => this.hover(side, unit, where),
    });
    return pane;
  }

  private hover(side: Side, unit: number, where: { x: number; y: number }): void {
    const { row, painted } = this;
    if (unit < 0 || !row || painted?.side !== side) return this.tip.hide();
    const about = row.exact && !row.exact[unit] ? "≈ " : "";
    this.tip.show(where, side.label(painted.by, unit), about + written(row.values[unit]!));
  }

  private async paint(state: State, before: State | null): Promise<void> {
    const attention = this.context.attention();
    const valid = state.place !== null && state.place < this.own(state).count(state.level);
    const choice = valid ? chosen(state) : null;
    const own = this.panes.find((pane) => pane.side === this.own(state));
    const moved = ["place", "level", "direction", "attention"] as const;
    const elsewhere = !before || moved.some((name) => before[name] !== state[name]);
    if (choice && elsewhere && this.pressed !== choice.place)
      requestAnimationFrame(() => own?.bring(choice.level, choice.place));
    this.pressed = null;
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const row = choice
        ? await this.context.questions.row(attention.number, choice, state.by, state.weigh, signal)
        : await this.receivedRow(state, signal);
      if (signal.aborted) return;
      this.colour(state, choice, row);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      if (!(error instanceof Refusal)) throw error;
      this.colour(state, choice, null, error.message);
    }
  }

  /** Nothing is chosen: what every unit receives, where the source can say. */
  private async receivedRow(state: State, signal: AbortSignal): Promise<Row | null> {
    const answer = await this.context.questions
      .received(this.context.attention().number, state.slice, state.by, state.weigh, signal)
      .catch((error: unknown) => {
        if (error instanceof Refusal) return null;
        throw error;
      });
    if (!answer) return null;
    const values = answer.array<Float32Array>("per_query");
    return {
      values,
      exact: null,
      unit: `${unitTold(String(answer.head.unit_per_query), state.weigh)} per query`,
      how: String(answer.head.how),
      elsewhere: null,
    };
  }

  private colour(state: State, choice: Choice | null, row: Row | null, refusal = ""): void {
    this.row = row;
    this.choice = choice;
    this.scale = scaleOf(state.scale, row?.values ?? []);
    const shares = row ? row.values.map((value) => this.scale.share(value)) : null;
    const theme = this.context.theme();
    const attention = this.context.attention();
    const painted = choice ? this.other(state) : attention.key;
    this.painted = { side: painted, by: state.by, weigh: state.weigh };
    for (const pane of this.panes) {
      const isOwn = pane.side === this.own(state);
      const marked = choice && isOwn ? [{ level: choice.level, unit: choice.place }] : [];
      const pins = state.pins
        .filter((pin) => pane.side === (pin.direction === "from" ? attention.query : attention.key))
        .map((pin) => ({ level: pin.level, unit: pin.place, dashed: true }));
      const seen = pane.side === painted ? shares : null;
      pane.colour({ level: state.by, shares: seen, marked: [...pins, ...marked], theme }, state.level);
      if (choice && isOwn) pane.stand(choice.place, false);
    }
    while (this.search.element.nextSibling) this.search.element.nextSibling.remove(); // it keeps the cursor
    for (const part of this.told(state, choice, row, refusal)) if (part) this.panel.append(part);
    if (row) this.legend.show(this.scale, theme, row.unit);
    if (choice && row) this.context.say(this.spoken(state, choice, row));
  }

  private told(state: State, choice: Choice | null, row: Row | null, refusal: string): (Node | null)[] {
    const attention = this.context.attention();
    const side = choice ? this.other(state) : attention.key;
    const heads = el("p", { class: "quiet" }, sliceName(state.slice, attention));
    const title = choice
      ? el(
          "h2",
          {},
          el("bdi", { class: "chosen" }, this.own(state).label(choice.level, choice.place, 40)),
          el("span", {}, state.direction === "from" ? " attends to" : " receives from"),
        )
      : el("h2", {}, row ? "What each receives, over all queries" : `Choose a ${state.level}`);
    const go = (unit: number): void => {
      if (attention.one) this.context.store.set({ place: unit, level: state.by });
      this.panes.find((pane) => pane.side === side)?.bring(state.by, unit);
    };
    const pin = choice && button("Pin", () => this.pin(choice), { class: "small" });
    const hint =
      !choice &&
      el("p", { class: "quiet" }, `Choose a ${state.level} with the mouse, the arrow keys or the search.`);
    const left = row?.elsewhere
      ? el("p", { class: "quiet" }, `On tokens of no ${state.by}: `, el("b", {}, written(row.elsewhere)))
      : null;
    return [
      title,
      heads,
      hint || null,
      pin,
      refusal ? el("p", { class: "refusal" }, refusal) : null,
      row &&
        ribbon(
          row,
          this.scale,
          this.context.theme(),
          choice && attention.one && state.level === state.by ? choice.place : null,
        ),
      row && rankList(row, side, state.by, go),
      left,
      row && this.legend.element,
      row && el("p", { class: "how" }, row.how),
    ];
  }

  private pin(choice: Choice): void {
    const { store } = this.context;
    const { slice, level, place, direction } = choice;
    const before = store.state.pins.slice(1 - MOST_PINS);
    store.set({ pins: [...before, { slice, level, place, direction }] });
  }

  private spoken(state: State, choice: Choice, row: Row): string {
    const listed = strongest(row, 3).map(
      ({ unit, value }) => `${this.other(state).label(state.by, unit)} ${written(value)}`,
    );
    const verb = state.direction === "from" ? "attends to" : "receives from";
    return `${this.own(state).label(choice.level, choice.place)} ${verb} ${listed.join(", ") || "none"}`;
  }
}
