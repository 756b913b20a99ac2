// Find a unit of the text by its letters.

import type { Level } from "../state/state";
import type { Side } from "../subject/side";
import { el, fill } from "../ui/dom";

const MOST = 10_000;

/** The units in which the words stand, in the order of the text; case does not matter. */
export function found(side: Side, level: Level, words: string): number[] {
  const wanted = lowered(words.trim());
  if (wanted === "") return [];
  const text = lowered(side.text);
  const units: number[] = [];
  for (let at = text.indexOf(wanted); at >= 0 && units.length < MOST; at = text.indexOf(wanted, at + 1)) {
    const unit = side.at(level, at);
    if (unit >= 0 && units.at(-1) !== unit) units.push(unit);
  }
  return units;
}

/** In small letters and of the same length: the one sign that would become longer, İ, stays as it is. */
export function lowered(text: string): string {
  return text.replace(/[^\u0130]+/g, (part) => part.toLowerCase());
}

export class Search {
  readonly element: HTMLElement;
  private readonly input: HTMLInputElement;
  private readonly told = el("span", { class: "told", role: "status" });
  private asked = "";
  private hits: number[] = [];
  private at = -1;

  constructor(
    private readonly find: (words: string) => number[],
    private readonly go: (unit: number) => void,
  ) {
    this.input = el("input", {
      type: "search",
      placeholder: "Find  ( / )",
      "aria-label": "Find in the text; Enter chooses the next place",
      spellcheck: "false",
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      },
      oninput: () => this.count(),
    });
    this.element = el("div", { class: "search" }, this.input, this.told);
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  /** Other units are searched from now on. */
  forget(): void {
    this.asked = "";
    this.at = -1;
    if (this.input.value) this.count();
  }

  private count(): void {
    this.asked = this.input.value;
    this.hits = this.find(this.asked);
    this.at = -1;
    fill(this.told, this.asked.trim() === "" ? "" : `${this.hits.length} found`);
  }

  private next(step: 1 | -1): void {
    if (this.asked !== this.input.value) this.count();
    const count = this.hits.length;
    if (count === 0) return;
    this.at = this.at < 0 ? (step > 0 ? 0 : count - 1) : (this.at + step + count) % count;
    fill(this.told, `${this.at + 1} of ${count}`);
    this.go(this.hits[this.at]!);
  }
}
