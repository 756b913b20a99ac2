// Pinned words side by side: for each its strongest ten and its ribbon, all on one scale.

import { highest, scale } from "../colour/scale";
import { isAbort, Refusal } from "../sources/source";
import type { Choice, Direction, Level, Weigh } from "../state/state";
import type { Row } from "../subject/rows";
import { sliceName } from "../subject/slices";
import { WEIGH_NAMES } from "../subject/weighs";
import type { Context } from "../ui/context";
import { button } from "../ui/controls";
import { el, fill } from "../ui/dom";
import { rankList, ribbon } from "./ranks";

export class Pins {
  readonly element = el("section", { class: "pins", "aria-label": "Pinned words", hidden: true });
  private shown = "";

  constructor(private readonly context: Context) {}

  async show(pins: readonly Choice[], by: Level, weigh: Weigh): Promise<void> {
    const { store, about, questions } = this.context;
    const attention = this.context.attention();
    const wanted = JSON.stringify([
      pins,
      by,
      weigh,
      attention.number,
      store.state.scale,
      this.context.theme(),
    ]);
    if (wanted === this.shown) return;
    this.shown = wanted;
    this.element.hidden = pins.length === 0;
    if (pins.length === 0) return;
    const rows = await Promise.all(
      pins.map((pin) =>
        questions.row(attention.number, pin, by, weigh).catch((error: unknown) => {
          if (error instanceof Refusal || isAbort(error)) return null;
          throw error;
        }),
      ),
    );
    if (this.shown !== wanted) return;
    const most = Math.max(...rows.map((row) => (row ? highest(row.values) : 0)));
    const said = about.said || "This could not be answered.";
    fill(this.element, ...pins.map((pin, place) => this.card(pin, place, rows[place]!, by, most, said)));
  }

  private card(
    pin: Choice,
    place: number,
    row: Row | null,
    by: Level,
    most: number,
    said: string,
  ): HTMLElement {
    const { store } = this.context;
    const attention = this.context.attention();
    const [own, other] =
      pin.direction === "from" ? [attention.query, attention.key] : [attention.key, attention.query];
    const { weigh } = store.state;
    const weighed = weigh === "weight" ? "" : ` · ${WEIGH_NAMES[weigh]}`;
    const drop = (): void => store.set({ pins: store.state.pins.filter((_, number) => number !== place) });
    const turned: Direction = pin.direction === "from" ? "to" : "from"; // of two texts the listed are of the other
    const choose = (unit: number): void =>
      store.set({ place: unit, level: by, ...(attention.one ? {} : { direction: turned }) });
    const back = (): void => store.set({ ...pin });
    return el(
      "article",
      { class: "pin" },
      el(
        "header",
        {},
        el(
          "button",
          { type: "button", class: "word", onclick: back },
          el("bdi", {}, own.label(pin.level, pin.place)),
        ),
        button("×", drop, { class: "drop", "aria-label": "Remove this pin" }),
        el(
          "p",
          { class: "quiet" },
          `${pin.direction === "from" ? "attends to" : "receives from"} · ${sliceName(pin.slice, attention)}${weighed}`,
        ),
      ),
      row &&
        ribbon(
          row,
          scale(store.state.scale, most),
          this.context.theme(),
          attention.one && pin.level === by ? pin.place : null,
        ),
      row ? rankList(row, other, by, choose) : el("p", { class: "quiet" }, said),
    );
  }
}
