// A small note that follows the mouse: a value at a place.

import { el, fill, paint } from "./dom";

export class Tip {
  readonly element = el("div", { class: "tip", hidden: true });

  show(where: { x: number; y: number }, name: string, value: string): void {
    fill(this.element, el("bdi", {}, name), el("b", {}, value));
    this.element.hidden = false;
    const { offsetWidth, offsetHeight } = this.element;
    const x = Math.max(4, Math.min(where.x + 14, window.innerWidth - offsetWidth - 8));
    const y = where.y + 20 + offsetHeight > window.innerHeight ? where.y - offsetHeight - 10 : where.y + 18;
    paint(this.element, { left: `${x}px`, top: `${y}px` });
  }

  hide(): void {
    this.element.hidden = true;
  }
}
