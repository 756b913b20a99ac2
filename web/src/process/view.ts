// Process: every stage between the text and the answer, one below the other, with live numbers and a check each.

import type { Params } from "../sources/source";
import { Refusal } from "../sources/source";
import type { State } from "../state/state";
import { shortened } from "../subject/visible";
import type { Context, Seen, View } from "../ui/context";
import { button } from "../ui/controls";
import { el, fill } from "../ui/dom";
import { checkText, type Explanation, readable, type Stage, shapeText } from "./explanation";
import { figure, quoted } from "./figures";

/** Numbers of a stage are drawn when it comes this near. */
const AHEAD = "900px";
/** Characters of the text and of its answer that stand at the top. */
const LONGEST = 400;

export class ProcessView implements View {
  readonly element = el("div", { class: "process-view" });
  readonly controls: readonly HTMLElement[];
  private readonly contents = el("nav", { "aria-label": "Stages" });
  private readonly stages = el("div", {
    class: "stages",
    tabindex: "0",
    role: "region",
    "aria-label": "Stages. The left and right arrow keys go to the one before and after.",
    onkeydown: (event: KeyboardEvent) => this.key(event),
  });
  private readonly count = el("span", { class: "quiet count" });
  private buttons: HTMLButtonElement[] = [];
  private readonly fields: readonly HTMLInputElement[];
  private explanation: Explanation | null = null;
  private articles: HTMLElement[] = [];
  private asked = "";
  private theme = "";
  private readonly sight = new IntersectionObserver((seen) => this.see(seen), {
    root: this.stages,
    rootMargin: AHEAD,
  });

  constructor(private readonly context: Context) {
    const field = (name: string, title: string): HTMLInputElement =>
      el("input", {
        type: "text",
        size: 7,
        name,
        "aria-label": title,
        placeholder: title,
        spellcheck: "false",
      });
    this.fields = [field("token", "token"), field("layer", "layer"), field("head", "head")];
    const form = el(
      "form",
      { class: "control", onsubmit: (event: Event) => this.trace(event) },
      el("span", {}, "Follow"),
      ...this.fields,
      button("Show", () => {}, { type: "submit" }),
    );
    const walk = el(
      "div",
      { class: "control" },
      button("‹", () => this.go(-1), { "aria-label": "Stage back" }),
      button("›", () => this.go(1), { "aria-label": "Stage on" }),
      this.count,
    );
    this.controls = context.questions.source.mode === "file" ? [walk] : [walk, form];
    fill(this.element, this.contents, this.stages);
  }

  show(state: State, before: State | null): void {
    const { trace } = state;
    this.fields.forEach((field, place) => {
      field.value = trace[place] ?? "";
    });
    const asked = JSON.stringify(trace);
    if (asked !== this.asked) {
      this.asked = asked;
      void this.ask(state);
      return;
    }
    if (this.theme !== this.context.theme()) this.draw();
    else if (before && before.stage !== state.stage) this.scroll(state.stage);
    this.mark(state.stage);
  }

  seen(): Seen | null {
    const stages = this.explanation?.stages;
    if (!stages) return null;
    const lines = stages.flatMap((stage, number) =>
      stage.numbers.flatMap((one) =>
        one.rows.flatMap((row, at) =>
          one.values[at]!.map((value, column) => [
            number + 1,
            stage.part,
            stage.name,
            one.title,
            one.unit,
            row,
            one.columns[column] ?? "",
            value ?? "",
          ]),
        ),
      ),
    );
    return {
      name: "process",
      table: [["stage", "part", "name", "what", "unit", "row", "column", "value"], ...lines],
    };
  }

  close(): void {
    this.sight.disconnect();
  }

  private trace(event: Event): void {
    event.preventDefault();
    this.context.store.set({ trace: this.fields.map((field) => field.value.trim()), stage: 0 });
  }

  private async ask(state: State): Promise<void> {
    const names = ["token", "layer", "head"];
    const params: Params = Object.fromEntries(
      names.map((name, place) => [name, state.trace[place] ?? ""]).filter(([, value]) => value !== ""),
    );
    const { asked } = this;
    if (!this.explanation) fill(this.stages, el("p", { class: "quiet" }, "Every stage is being computed …"));
    try {
      const answer = await this.context.questions.process(params);
      if (asked !== this.asked) return;
      this.explanation = readable(answer.head.explanation);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (asked !== this.asked) return;
      this.explanation = null;
      [this.articles, this.buttons] = [[], []];
      fill(this.count);
      fill(this.contents);
      fill(this.stages, el("p", { class: "refusal" }, quoted(error.message)));
      return;
    }
    this.draw();
    this.mark(state.stage);
    if (state.stage > 0) requestAnimationFrame(() => this.scroll(state.stage));
  }

  // ── From stage to stage ──

  private key(event: KeyboardEvent): void {
    const by = ({ ArrowLeft: -1, ArrowRight: 1 } as const)[event.key as "ArrowLeft" | "ArrowRight"];
    const target = event.target as HTMLElement;
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target !== this.stages && !this.articles.includes(target)) return; // wide numbers scroll by these keys
    event.preventDefault();
    this.go(by);
  }

  /** The stage after (1) or before (−1) the chosen one, or the one that is read where that is out of sight. */
  private go(by: -1 | 1): void {
    const { stage } = this.context.store.state;
    const { scrollTop, clientHeight } = this.stages;
    const top = this.articles[stage - 1]?.offsetTop ?? -1;
    const seen = top >= scrollTop - clientHeight / 2 && top < scrollTop + clientHeight;
    const read = this.articles.filter((one) => one.offsetTop <= scrollTop + clientHeight / 3).length;
    this.choose((seen ? stage : read) + by);
  }

  private choose(stage: number): void {
    const within = Math.max(1, Math.min(stage, this.articles.length));
    if (this.articles.length === 0) return;
    const { store } = this.context;
    if (store.state.stage === within) this.scroll(within);
    store.set({ stage: within });
    this.context.say(
      `Stage ${within} of ${this.articles.length}: ${this.explanation!.stages[within - 1]!.name}`,
    );
  }

  private mark(stage: number): void {
    const all = this.articles.length;
    fill(this.count, stage > 0 && stage <= all ? `stage ${stage} of ${all}` : all > 0 ? `${all} stages` : "");
    this.buttons.forEach((one, place) => {
      if (place === stage - 1) one.setAttribute("aria-current", "step");
      else one.removeAttribute("aria-current");
    });
    const box = this.buttons[stage - 1];
    const { scrollTop, clientHeight } = this.contents;
    if (box && (box.offsetTop < scrollTop || box.offsetTop + box.offsetHeight > scrollTop + clientHeight))
      this.contents.scrollTop = box.offsetTop - clientHeight / 3;
  }

  private scroll(stage: number): void {
    const article = this.articles[stage - 1];
    if (article) this.stages.scrollTop = article.offsetTop - 12;
  }

  // ── What is drawn ──

  private draw(): void {
    const { explanation } = this;
    if (!explanation) return;
    this.theme = this.context.theme();
    this.sight.disconnect();
    const failed = explanation.stages.filter((stage) => !stage.check.ok).length;
    const count = explanation.stages.length;
    this.articles = explanation.stages.map((stage, place) => this.article(stage, place + 1));
    const children: Element[] = [
      el(
        "h2",
        {},
        el("bdi", {}, shortened(explanation.text, LONGEST)),
        " → ",
        el("bdi", {}, shortened(explanation.answer, LONGEST)),
      ),
      el("p", { class: "quiet" }, el("bdi", {}, shortened(explanation.model))),
      el(
        "p",
        { class: failed ? "bad" : "good" },
        failed ? `✗ ${failed} of ${count} checks failed` : `✓ all ${count} checks hold`,
      ),
      el("ul", { class: "quiet" }, ...explanation.choice.map((sentence) => el("li", {}, quoted(sentence)))),
    ];
    explanation.stages.forEach((stage, place) => {
      if (stage.part !== explanation.stages[place - 1]?.part)
        children.push(el("h2", { class: "part" }, stage.part));
      children.push(this.articles[place]!);
    });
    fill(this.stages, ...children);
    fill(this.contents, this.list(explanation));
    for (const article of this.articles) this.sight.observe(article);
  }

  private list(explanation: Explanation): HTMLElement {
    const parts = new Map<string, HTMLElement>();
    this.buttons = explanation.stages.map((stage, place) => {
      if (!parts.has(stage.part)) parts.set(stage.part, el("ol", {}));
      const made = button(`${place + 1}  ${stage.name}${stage.check.ok ? "" : " ✗"}`, () => {
        this.choose(place + 1);
        this.articles[place]!.focus({ preventScroll: true }); // Tab goes on to its numbers
      });
      parts.get(stage.part)!.append(el("li", {}, made));
      return made;
    });
    return el("div", {}, ...[...parts].flatMap(([part, list]) => [el("h3", {}, part), list]));
  }

  private article(stage: Stage, number: number): HTMLElement {
    const { check } = stage;
    return el(
      "article",
      { "data-stage": number, tabindex: "-1" },
      el(
        "div",
        { class: "words" },
        el("h3", {}, el("span", { class: "number" }, number), ` ${stage.name}`),
        el("p", { class: "quiet" }, stage.source),
        el("p", { class: "formula" }, stage.formula),
        el(
          "ul",
          { class: "shapes" },
          ...stage.shapes.map(([name, sizes]) => el("li", {}, shapeText(name, sizes))),
        ),
        el("p", {}, quoted(stage.text)),
        el(
          "p",
          { class: check.ok ? "check good" : "check bad" },
          check.ok ? "✓ " : "✗ ",
          quoted(checkText(check)),
        ),
      ),
      el("div", { class: "figures" }),
    );
  }

  private see(seen: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      this.sight.unobserve(target);
      const stage = this.explanation?.stages[Number((target as HTMLElement).dataset.stage) - 1];
      if (stage)
        fill(
          target.querySelector(".figures")!,
          ...stage.numbers.map((one) => figure(one, this.context.theme())),
        );
    }
  }
}
