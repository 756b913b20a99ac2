// Steps: an answer as it was written, token by token: what each attended to, and what else could have come.

import { MARK } from "../colour/ramp";
import { type Scale, scale, scaleOf, written } from "../colour/scale";
import { Refusal } from "../sources/source";
import type { Level, State } from "../state/state";
import { type Attention, movedTo } from "../subject/about";
import { type Row, strongest } from "../subject/rows";
import { sliceName } from "../subject/slices";
import { label } from "../subject/visible";
import { nameTold } from "../subject/weighs";
import { TextPane } from "../text/pane";
import { rankList } from "../text/ranks";
import { scaleControl } from "../ui/common";
import type { Context, Seen, View } from "../ui/context";
import { button } from "../ui/controls";
import { el, fill, paint, svg } from "../ui/dom";
import { Legend } from "../ui/legend";
import { Tip } from "../ui/tip";

interface Step {
  readonly place: number;
  readonly text: string;
  readonly probability: number;
  readonly candidates: readonly (readonly [string, number])[];
}

/** Lines from the token that is written are drawn to so many of those it attends to. */
const LINES = 6;

export class StepsView implements View {
  readonly element = el("div", { class: "steps-view" });
  readonly controls: readonly HTMLElement[];
  private readonly scaling;
  private readonly slider: HTMLInputElement;
  private readonly count = el("span", { class: "quiet count" });
  private readonly panel = el("aside", { class: "panel", "aria-label": "This step" });
  private readonly lines = svg("svg", { class: "lines", "aria-hidden": "true" });
  private readonly legend = new Legend();
  private readonly tip = new Tip();
  private readonly sizes = new ResizeObserver(() => this.drawLines());
  private source: TextPane | null = null;
  private target: TextPane | null = null;
  private steps: readonly Step[] = [];
  /** The attention that wrote the answer; no other has steps. */
  private number = 0;
  private closed = false;
  private row: Row | null = null;
  private by: Level = "token";
  private colours: Scale = scale("log", 1);

  constructor(private readonly context: Context) {
    this.scaling = scaleControl(context);
    this.slider = el("input", {
      type: "range",
      min: 0,
      "aria-label": "Step",
      oninput: () => this.go(Number(this.slider.value)),
    });
    this.controls = [
      el(
        "div",
        { class: "control" },
        button("‹", () => this.go(this.at() - 1), { "aria-label": "Step back" }),
        this.slider,
        button("›", () => this.go(this.at() + 1), { "aria-label": "Step on" }),
        this.count,
      ),
      this.scaling.element,
    ];
    void this.open();
  }

  show(state: State): void {
    this.scaling.show(state);
    if (this.steps.length === 0) return;
    if (state.attention === this.number) void this.paint(state);
    else this.context.store.set(movedTo(this.context.about, this.number, state));
  }

  seen(): Seen | null {
    const step = this.steps[this.at()];
    const { row, by } = this;
    if (!step || !row) return null;
    const side = this.context.attention().key;
    return {
      name: nameTold(`step-${this.at() + 1}`, this.context.store.state.weigh),
      table: [
        ["what", "text", row.unit === "probability" ? "probability" : "number"],
        ...step.candidates.map(([text, probability]) => ["candidate", text, probability]),
        ...Array.from(row.values, (value, unit) => [
          row.unit === "probability" ? "attends to" : `attends to (${row.unit})`,
          side.label(by, unit, 60) + (row.exact && !row.exact[unit] ? " (≈)" : ""),
          value,
        ]),
      ],
    };
  }

  close(): void {
    this.closed = true;
    this.source?.close();
    this.target?.close();
    this.sizes.disconnect();
  }

  private async open(): Promise<void> {
    const { store, questions, about } = this.context;
    const answer = await questions.steps();
    if (this.closed) return;
    this.number = Number(answer.head.attention);
    if (store.state.attention !== this.number) store.set(movedTo(about, this.number, store.state));
    this.steps = answer.head.steps as Step[];
    this.slider.max = String(Math.max(0, this.steps.length - 1));
    this.lay(this.context.attention());
    await this.paint(store.state);
  }

  private lay(attention: Attention): void {
    const hover = (unit: number, where: { x: number; y: number }): void => {
      if (unit < 0 || !this.row) return this.tip.hide();
      const about = this.row.exact && !this.row.exact[unit] ? "≈ " : "";
      this.tip.show(where, attention.key.label(this.by, unit), about + written(this.row.values[unit]!));
    };
    const step = (place: number): void => {
      const at = this.steps.findIndex((one) => one.place >= place); // what stood before the answer is no step
      this.go(at < 0 ? this.steps.length - 1 : at);
    };
    this.target = new TextPane(attention.query, `${attention.query.name}, written step by step`, {
      choose: step,
      hover: () => {},
      moved: () => this.drawLines(),
    });
    this.source = attention.one
      ? null
      : new TextPane(attention.key, attention.key.name, {
          hover,
          moved: () => this.drawLines(),
        });
    const part = (name: string, pane: TextPane): HTMLElement =>
      el("section", { class: "column" }, el("h2", {}, name), pane.element);
    fill(
      this.element,
      el(
        "div",
        { class: "lines-of-text" },
        this.source && part(attention.key.name, this.source),
        part(attention.query.name, this.target),
        this.lines,
      ),
      this.panel,
      this.tip.element,
    );
    this.sizes.observe(this.element);
    for (const pane of [this.source, this.target])
      pane?.element.addEventListener("scroll", () => this.drawLines(), { passive: true });
  }

  /** The step that is shown: a link may name one that this answer does not have. */
  private at(state: State = this.context.store.state): number {
    return Math.max(0, Math.min(state.step, this.steps.length - 1));
  }

  private go(step: number): void {
    if (step >= 0 && step < this.steps.length) this.context.store.set({ step });
  }

  private async paint(state: State): Promise<void> {
    const at = this.at(state);
    const step = this.steps[at];
    if (!step || !this.target) return;
    this.slider.value = String(at);
    fill(this.count, `step ${at + 1} of ${this.steps.length}`);
    const { row, by, refusal } = await this.rowOf(step, state);
    if (this.closed || this.context.store.state !== state) return;
    [this.row, this.by] = [row, by];
    this.colours = scaleOf(state.scale, row?.values ?? []);
    const shares = row ? row.values.map((value) => this.colours.share(value)) : null;
    const theme = this.context.theme();
    const marked = [{ level: "token" as Level, unit: step.place }];
    this.source?.colour({ level: by, shares, marked: [], theme }, "token");
    this.target.colour({ level: by, shares: this.source ? null : shares, marked, theme }, "token");
    this.target.stand(step.place, true);
    fill(this.panel, ...this.told(step, state, row, refusal));
    requestAnimationFrame(() => this.drawLines());
    this.context.say(`Step ${at + 1}: ${label(step.text)}, probability ${written(step.probability)}`);
  }

  /** By token, or by word where a file does not hold single tokens. */
  private async rowOf(step: Step, state: State): Promise<{ row: Row | null; by: Level; refusal: string }> {
    const { questions } = this.context;
    const attention = this.context.attention();
    const word = attention.query.unitOf(step.place, "word");
    const ways: [Level, number][] = [
      ["token", step.place],
      ...(word >= 0 ? [["word", word] as [Level, number]] : []),
    ];
    let refusal = "";
    for (const [level, place] of ways)
      try {
        const choice = { slice: state.slice, level, place, direction: "from" } as const;
        return {
          row: await questions.row(attention.number, choice, level, state.weigh),
          by: level,
          refusal: "",
        };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refusal = error.message;
      }
    return { row: null, by: "token", refusal };
  }

  private told(step: Step, state: State, row: Row | null, refusal: string): (Node | null)[] {
    const attention = this.context.attention();
    if (row) this.legend.show(this.colours, this.context.theme(), row.unit);
    return [
      el(
        "h2",
        {},
        el("bdi", { class: "chosen" }, label(step.text)),
        el("span", {}, ` ${written(step.probability)}`),
      ),
      el(
        "p",
        { class: "quiet" },
        "Probability of this token, given what was written before it; what else could have come:",
      ),
      this.candidates(step),
      el("h3", {}, "It attends to"),
      el("p", { class: "quiet" }, sliceName(state.slice, attention)),
      refusal ? el("p", { class: "refusal" }, refusal) : null,
      row && rankList(row, attention.key, this.by, (unit) => this.bring(unit, step)),
      row && this.legend.element,
      row && el("p", { class: "how" }, row.how),
    ];
  }

  /** A unit into sight; the arrow keys go on from the step. */
  private bring(unit: number, step: Step): void {
    (this.source ?? this.target)?.bring(this.by, unit);
    this.target?.stand(step.place, false);
  }

  private candidates(step: Step): HTMLElement {
    const most = Math.max(...step.candidates.map(([, probability]) => probability), 1e-9);
    return el(
      "ol",
      { class: "ranks", tabindex: "0", "aria-label": "What else could have come" },
      ...step.candidates.map(([text, probability]) => {
        const bar = el("i", { class: "bar", "aria-hidden": "true" });
        paint(bar, { width: `${(100 * probability) / most}%` });
        return el(
          "li",
          { class: text === step.text ? "taken" : null },
          el("bdi", { class: "name" }, label(text, 28)),
          el("span", { class: "place" }, text === step.text ? "written" : ""),
          el("span", { class: "value", "data-value": probability }, written(probability)),
          bar,
        );
      }),
    );
  }

  /** Curves from the token that is written to those it attends to most. */
  private drawLines(): void {
    fill(this.lines);
    const step = this.steps[this.at()];
    const start = step && this.target?.whereIs("token", step.place);
    if (!this.row || !this.source || !start) return;
    const corner = this.lines.getBoundingClientRect();
    const frame = this.source.element.getBoundingClientRect();
    for (const { unit, value } of strongest(this.row, LINES)) {
      const end = this.source.whereIs(this.by, unit);
      if (!end || end.bottom < frame.top || end.top > frame.bottom) continue;
      const [x0, y0] = [start.x + start.width / 2 - corner.x, start.y - corner.y];
      const [x1, y1] = [end.x + end.width / 2 - corner.x, end.bottom - corner.y];
      const middle = (y0 + y1) / 2;
      const d = `M${x0} ${y0}C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`;
      const width = 1 + 5 * (value / this.colours.high);
      this.lines.append(
        svg("path", { d, fill: "none", stroke: MARK, "stroke-opacity": 0.55, "stroke-width": width }),
      );
    }
  }
}
