// What a colour means: the ramp, numbers below it, and their unit.

import { STEPS, type Theme, table } from "../colour/ramp";
import { brief, type Scale } from "../colour/scale";
import { el, fill, paint } from "./dom";

export class Legend {
  readonly element: HTMLElement;
  private readonly ramp = el("canvas", { class: "ramp", width: STEPS, height: 1, "aria-hidden": "true" });
  private readonly ticks = el("div", { class: "ticks" });
  private readonly unit = el("span", { class: "unit" });

  constructor() {
    this.element = el("figure", { class: "legend" }, el("figcaption", {}, this.unit), this.ramp, this.ticks);
  }

  show(scale: Scale, theme: Theme, unit: string, more = ""): void {
    const context = this.ramp.getContext("2d")!;
    const colours = table(theme);
    const image = context.createImageData(STEPS, 1);
    for (let step = 0; step < STEPS; step++)
      image.data.set([colours[3 * step]!, colours[3 * step + 1]!, colours[3 * step + 2]!, 255], 4 * step);
    context.putImageData(image, 0, 0);
    const count = scale.kind === "log" ? 3 : 2;
    const ticks = Array.from({ length: count + 1 }, (_, place) => {
      const share = place / count;
      const low = scale.kind === "log" && place === 0 ? "≤ " : "";
      const tick = el("span", {}, low + brief(scale.value(share)));
      paint(tick, { left: `${100 * share}%` });
      return tick;
    });
    fill(this.ticks, ...ticks);
    fill(this.unit, `${unit}${scale.kind === "log" ? ", logarithmic" : ""}${more}`);
  }
}
