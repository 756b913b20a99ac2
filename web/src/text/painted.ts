// One block of text in the page: real text, and below it a canvas with the colours of its units.
// The text is never touched by a choice: that is why repainting a long text takes milliseconds.

import { colour, type Letters, letters, MARK, type Theme } from "../colour/ramp";
import type { Level } from "../state/state";
import type { Side } from "../subject/side";
import { el } from "../ui/dom";
import { type Block, toShown, toShownEnd } from "./blocks";

/** A unit's rectangles in a block, in CSS pixels. */
interface Box {
  readonly unit: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Colouring {
  readonly level: Level;
  /** A share of the ramp for every unit of the level; null: nothing is chosen, so nothing is coloured. */
  readonly shares: Float32Array | null;
  /** The units with an outline, at their own level. */
  readonly marked: readonly { readonly level: Level; readonly unit: number; readonly dashed?: boolean }[];
  readonly theme: Theme;
}

/** Names of the highlights for text that the page's ink could not be read in, wherever in the page. */
export const HIGHLIGHTS = { black: "limelight-black", white: "limelight-white" } as const;

export class PaintedBlock {
  readonly element: HTMLElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly letters: Text;
  private boxes = new Map<Level, Box[]>();
  private turned: [Letters, Range][] = [];

  constructor(
    readonly block: Block,
    private readonly side: Side,
  ) {
    this.letters = document.createTextNode(block.text);
    this.element = el("div", { class: "block", dir: "auto" }, this.canvas, this.letters);
  }

  /** The letters moved: the page was made wider, or the fonts came. */
  forget(): void {
    this.boxes.clear();
  }

  paint({ level, shares, marked, theme }: Colouring): void {
    const context = this.cleared();
    this.clear();
    if (shares) {
      const ranges: [Letters, Range][] = [];
      for (const box of this.boxesOf(level)) {
        const share = shares[box.unit]!;
        if (!(share > 0)) continue;
        context.fillStyle = colour(theme, share);
        rounded(context, box, 2);
        context.fill();
        const written = letters(theme, share);
        if (written !== "ink") ranges.push([written, this.rangeOf(level, box.unit)!]);
      }
      this.turn(ranges);
    }
    context.strokeStyle = MARK;
    context.lineWidth = 2;
    for (const { level: own, unit, dashed } of marked) {
      context.setLineDash(dashed ? [4, 3] : []);
      for (const box of this.boxesOf(own))
        if (box.unit === unit) {
          rounded(context, box, 3);
          context.stroke();
        }
    }
  }

  /** Give back what it holds while it cannot be seen: a canvas keeps its pixels. */
  leave(): void {
    this.clear();
    [this.canvas.width, this.canvas.height] = [0, 0];
  }

  /** Letters that others may turn. */
  clear(): void {
    for (const [written, range] of this.turned) highlight(written)?.delete(range);
    this.turned = [];
  }

  /** The unit at a point of the block, −1 where there is none. */
  unitAt(level: Level, x: number, y: number): number {
    for (const box of this.boxesOf(level))
      if (x >= box.x - 2 && x <= box.x + box.width + 2 && y >= box.y - 2 && y <= box.y + box.height + 2)
        return box.unit;
    return -1;
  }

  /** The first rectangle of a unit, from the block's corner. */
  boxOf(level: Level, unit: number): Box | null {
    return this.boxesOf(level).find((box) => box.unit === unit) ?? null;
  }

  boxesOf(level: Level): Box[] {
    let found = this.boxes.get(level);
    if (!found) {
      found = this.measured(level);
      this.boxes.set(level, found);
    }
    return found;
  }

  private measured(level: Level): Box[] {
    const corner = this.element.getBoundingClientRect();
    const found: Box[] = [];
    for (const unit of this.units(level)) {
      const range = this.rangeOf(level, unit);
      if (!range) continue;
      for (const rectangle of range.getClientRects()) {
        const width = Math.max(rectangle.width, 2);
        found.push({
          unit,
          x: rectangle.x - corner.x,
          y: rectangle.y - corner.y,
          width,
          height: rectangle.height,
        });
      }
    }
    return found;
  }

  /** The units of a level that this block shows a part of. */
  private *units(level: Level): Generator<number> {
    const spans = this.side.spansOf(level);
    let low = 0;
    let high = spans.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[2 * middle + 1]! <= this.block.start) low = middle + 1;
      else high = middle;
    }
    for (let unit = low; unit < spans.length / 2 && spans[2 * unit]! < this.block.end; unit++)
      if (spans[2 * unit + 1]! > spans[2 * unit]!) yield unit;
    if (level === "token") for (const special of this.block.specials) yield special.token;
  }

  private rangeOf(level: Level, unit: number): Range | null {
    const { block } = this;
    const special = level === "token" ? block.specials.find((one) => one.token === unit) : undefined;
    const start = special?.start ?? toShown(block, Math.max(this.side.start(level, unit), block.start));
    const end = special?.end ?? toShownEnd(block, Math.min(this.side.end(level, unit), block.end));
    if (end < start || end > block.text.length) return null;
    const range = document.createRange();
    range.setStart(this.letters, start);
    range.setEnd(this.letters, end);
    return range;
  }

  private turn(ranges: [Letters, Range][]): void {
    for (const [written, range] of ranges) highlight(written)?.add(range);
    this.turned = ranges;
  }

  private cleared(): CanvasRenderingContext2D {
    const { clientWidth: width, clientHeight: height } = this.element;
    const dense = window.devicePixelRatio || 1;
    const wanted = [Math.round(width * dense), Math.round(height * dense)] as const;
    const context = this.canvas.getContext("2d")!;
    if (this.canvas.width !== wanted[0] || this.canvas.height !== wanted[1]) {
      [this.canvas.width, this.canvas.height] = wanted;
    }
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }
}

function rounded(context: CanvasRenderingContext2D, box: Box, radius: number): void {
  context.beginPath();
  context.roundRect(box.x - 1, box.y, box.width + 2, box.height, radius);
}

/** The one highlight of its kind; browsers without highlights keep the ink. */
function highlight(written: Letters): Highlight | null {
  if (written === "ink" || !("highlights" in CSS)) return null;
  let found = CSS.highlights.get(HIGHLIGHTS[written]);
  if (!found) {
    found = new Highlight();
    CSS.highlights.set(HIGHLIGHTS[written], found);
  }
  return found;
}
