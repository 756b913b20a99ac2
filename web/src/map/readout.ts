// Beside the map: what stands under the cross, in its sentence, and the ways from there into the text.

import type { Direction, Level } from "../state/state";
import type { Attention } from "../subject/about";
import type { Side } from "../subject/side";
import { label } from "../subject/visible";
import type { Context } from "../ui/context";
import { button } from "../ui/controls";
import { el, fill } from "../ui/dom";

/** What a cell says; `size`: tokens on its side. */
export interface Reading {
  readonly row: number;
  readonly column: number;
  readonly size: number;
  readonly value: string;
}

const AROUND = 40;

export class Readout {
  readonly element: HTMLElement;
  /** The same for the ear. */
  words = "";
  private readonly query = el("div", { class: "at" });
  private readonly key = el("div", { class: "at" });
  private readonly value = el("p", { class: "figure" });
  private readonly refusal = el("p", { class: "refusal", hidden: true });
  private readonly hint = el(
    "p",
    { class: "quiet" },
    "Drag to move, wheel or pinch to zoom. With the keyboard: arrows, + and −, 0, Enter.",
  );
  private readonly found = el("div", { hidden: true });
  private at: Reading | null = null;

  constructor(
    private readonly context: Context,
    legend: HTMLElement,
  ) {
    fill(
      this.found,
      el("p", { class: "quiet" }, "Query"),
      this.query,
      el("p", { class: "quiet" }, "attends to key"),
      this.key,
      this.value,
      el(
        "div",
        { class: "row" },
        button("Query in the text", () => this.goTo("from"), { class: "small" }),
        button("Key in the text", () => this.goTo("to"), { class: "small" }),
      ),
    );
    this.element = el(
      "aside",
      { class: "panel", "aria-label": "Under the cross" },
      el("h2", {}, "Under the cross"),
      this.hint,
      this.found,
      this.refusal,
      legend,
    );
  }

  show(attention: Attention, at: Reading | null, refusal: string): void {
    this.at = at;
    this.refusal.hidden = refusal === "";
    fill(this.refusal, refusal);
    this.found.hidden = at === null;
    if (!at) return;
    fill(this.query, ...this.inContext(attention.query, at.row, at.size));
    fill(this.key, ...this.inContext(attention.key, at.column, at.size));
    fill(this.value, at.value || "…");
    this.words = `${attention.query.label("token", at.row)} attends to ${attention.key.label("token", at.column)}: ${at.value}`;
  }

  /** Show the query ("from") or the key ("to") under the cross in the text, at the level chosen there. */
  goTo(direction: Direction): void {
    if (!this.at) return;
    const attention = this.context.attention();
    const { level } = this.context.store.state;
    const [side, token] =
      direction === "from" ? [attention.query, this.at.row] : [attention.key, this.at.column];
    const unit = side.unitOf(token, level);
    const chosen: { level: Level; place: number } =
      unit >= 0 ? { level, place: unit } : { level: "token", place: token };
    this.context.store.set({ ...chosen, by: chosen.level, direction, view: "text" });
  }

  private inContext(side: Side, token: number, size: number): (Node | string)[] {
    const last = Math.min(token + size, side.count("token")) - 1;
    const [start, end] = [
      side.start("token", token),
      Math.max(side.start("token", token), side.end("token", last)),
    ];
    const before = side.text.slice(Math.max(0, start - AROUND), start);
    const after = side.text.slice(end, end + AROUND);
    const special = side.special("token", token);
    const name =
      special ??
      (end - start > 2 * AROUND ? `${side.text.slice(start, start + AROUND)}…` : side.text.slice(start, end));
    const document = side.documentOf("token", token);
    return [
      el(
        "bdi",
        {},
        label(before, AROUND + 1),
        el("mark", {}, label(name, 2 * AROUND)),
        label(after, AROUND + 1),
      ),
      el(
        "span",
        { class: "quiet" },
        ` token ${token}${size > 1 ? ` to ${last}` : ""}${side.documents.length > 1 && document >= 0 ? `, ${side.label("document", document)}` : ""}`,
      ),
    ];
  }
}
