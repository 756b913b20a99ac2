// A text to read and to choose from: its blocks, which of them are in sight, mouse and keyboard.

import type { Level } from "../state/state";
import type { Side } from "../subject/side";
import { el, fill } from "../ui/dom";
import { blocksOf } from "./blocks";
import { type Colouring, PaintedBlock } from "./painted";

export interface PaneEvents {
  /** Without it the text is to be read only, and the arrow keys scroll it. */
  choose?(unit: number): void;
  /** The mouse is over a unit of the colouring's level, or over none (−1). */
  hover(unit: number, where: { x: number; y: number }): void;
  /** Other blocks came into sight. */
  moved?(): void;
}

/** Blocks this far beyond the edge are painted, too. */
const AHEAD = "200px";

export class TextPane {
  readonly element: HTMLElement;
  private blocks: PaintedBlock[] = [];
  private readonly inSight = new Set<PaintedBlock>();
  private readonly byElement = new Map<Element, PaintedBlock>();
  private colouring: Colouring = { level: "word", shares: null, marked: [], theme: "light" };
  private level: Level = "word";
  private current = -1;
  private withSpecials: boolean | null = null;
  private readonly sight: IntersectionObserver;
  private readonly sizes: ResizeObserver;

  constructor(
    readonly side: Side,
    name: string,
    private readonly events: PaneEvents,
  ) {
    this.element = el("div", {
      class: "pane",
      tabindex: "0",
      role: "region",
      "aria-label": events.choose
        ? `${name}. Arrow keys choose a unit, Home and End go to the first and last.`
        : name,
      onclick: (event: MouseEvent) => this.click(event),
      onmousemove: (event: MouseEvent) => this.point(event),
      onmouseleave: () => events.hover(-1, { x: 0, y: 0 }),
      onkeydown: (event: KeyboardEvent) => this.key(event),
    });
    this.sight = new IntersectionObserver((seen) => this.see(seen), {
      root: this.element,
      rootMargin: AHEAD,
    });
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(this.element);
    document.fonts?.ready.then(() => this.resized());
  }

  /** Paint with these colours; what is not in sight is painted when it comes. */
  colour(colouring: Colouring, level: Level): void {
    this.colouring = colouring;
    this.level = level;
    this.lay(level === "token" || colouring.level === "token");
    for (const block of this.inSight) block.paint(colouring);
  }

  /** The unit from which the arrow keys go on; brought into sight where asked. */
  stand(unit: number, bringIntoSight: boolean): void {
    this.current = unit;
    if (bringIntoSight) this.bring(this.level, unit);
  }

  /** A unit of any level into sight. */
  bring(level: Level, unit: number): void {
    const block = unit < 0 ? undefined : this.blockOf(level, unit);
    if (!block) return;
    const box = block.boxOf(level, unit);
    const top = block.element.offsetTop + (box?.y ?? 0);
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop + 24 || top > scrollTop + clientHeight - 48)
      this.element.scrollTo({ top: top - clientHeight / 3 });
  }

  /** Where a unit stands in the window, null while it is out of sight. */
  whereIs(level: Level, unit: number): DOMRect | null {
    for (const block of this.inSight) {
      const box = block.boxOf(level, unit);
      if (!box) continue;
      const corner = block.element.getBoundingClientRect();
      return new DOMRect(corner.x + box.x, corner.y + box.y, box.width, box.height);
    }
    return null;
  }

  close(): void {
    this.sight.disconnect();
    this.sizes.disconnect();
    for (const block of this.blocks) block.clear();
  }

  private lay(specials: boolean): void {
    if (this.withSpecials === specials) return;
    this.withSpecials = specials;
    this.close();
    this.inSight.clear();
    this.byElement.clear();
    this.blocks = blocksOf(this.side, specials).map((block) => new PaintedBlock(block, this.side));
    const several = this.side.documents.length > 1;
    const children: Element[] = [];
    this.blocks.forEach((painted, place) => {
      const { document } = painted.block;
      if (several && document !== this.blocks[place - 1]?.block.document)
        children.push(
          el("h3", { class: "document-name" }, el("bdi", {}, this.side.label("document", document, 80))),
        );
      children.push(painted.element);
      this.byElement.set(painted.element, painted);
    });
    if (this.blocks.length === 0) children.push(el("p", { class: "quiet" }, "This text is empty."));
    fill(this.element, ...children);
    for (const block of this.blocks) this.sight.observe(block.element);
    this.sizes.observe(this.element);
  }

  private see(seen: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of seen) {
      const block = this.byElement.get(target);
      if (!block) continue;
      if (isIntersecting) {
        this.inSight.add(block);
        block.paint(this.colouring);
      } else {
        this.inSight.delete(block);
        block.leave();
      }
    }
    this.events.moved?.();
  }

  private resized(): void {
    for (const block of this.blocks) block.forget();
    for (const block of this.inSight) block.paint(this.colouring);
  }

  private unitUnder(event: MouseEvent, level: Level): number {
    const element = (event.target as Element).closest(".block");
    const block = element && this.byElement.get(element);
    if (!block) return -1;
    const corner = element.getBoundingClientRect();
    return block.unitAt(level, event.clientX - corner.x, event.clientY - corner.y);
  }

  private click(event: MouseEvent): void {
    if (!getSelection()?.isCollapsed) return; // text is being marked, for copying
    const unit = this.unitUnder(event, this.level);
    if (unit >= 0) this.events.choose?.(unit);
  }

  private point(event: MouseEvent): void {
    this.events.hover(this.unitUnder(event, this.colouring.level), { x: event.clientX, y: event.clientY });
  }

  private key(event: KeyboardEvent): void {
    if (!this.events.choose || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = this.reached(event.key);
    if (next === null) return;
    event.preventDefault();
    this.events.choose(next);
    this.stand(next, true);
  }

  private reached(key: string): number | null {
    const last = this.side.count(this.level) - 1;
    if (last < 0) return null;
    const within = (unit: number): number => Math.max(0, Math.min(last, unit));
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key === "ArrowRight") return within(this.current + 1);
    if (key === "ArrowLeft") return within(this.current - 1);
    if (key === "ArrowDown" || key === "ArrowUp") return within(this.inLine(key === "ArrowDown" ? 1 : -1));
    return null;
  }

  /** The unit in the line below (1) or above (−1) that stands nearest to the current one. */
  private inLine(direction: 1 | -1): number {
    if (this.current < 0) return 0;
    const place = this.blocks.findIndex((block) => block.boxOf(this.level, this.current));
    const here = this.blocks[place]?.boxOf(this.level, this.current);
    if (!here) return this.current + direction;
    for (let at = place; at >= 0 && at < this.blocks.length && Math.abs(at - place) < 3; at += direction) {
      const top = at === place ? here.y : direction > 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
      const beyond = this.blocks[at]!.boxesOf(this.level).filter(
        (box) => direction * (box.y - top) > here.height / 2,
      );
      if (beyond.length === 0) continue;
      const line = direction * Math.min(...beyond.map((box) => direction * box.y));
      const near = beyond.filter((box) => Math.abs(box.y - line) < here.height / 2);
      return near.reduce((a, b) => (Math.abs(b.x - here.x) < Math.abs(a.x - here.x) ? b : a)).unit;
    }
    return this.current + direction;
  }

  private blockOf(level: Level, unit: number): PaintedBlock | undefined {
    const start = this.side.start(level, unit);
    return (
      this.blocks.find(({ block }) => start >= block.start && start < block.end) ??
      this.blocks.find(({ block }) => block.specials.some((special) => special.token === unit))
    );
  }
}
