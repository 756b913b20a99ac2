// What is seen, as one SVG: boxes, letters, canvases and drawings where they stand in the page. Nothing is loaded.

import { HIGHLIGHTS } from "../text/painted";
import { svg } from "../ui/dom";

const CLEAR = new Set(["transparent", "rgba(0, 0, 0, 0)"]);
const NAMESPACE = "http://www.w3.org/2000/svg";

/** The element as it stands, cut at its edges. */
export function picture(root: HTMLElement): SVGSVGElement {
  const frame = root.getBoundingClientRect();
  const [width, height] = [Math.ceil(frame.width), Math.ceil(frame.height)];
  const paper = getComputedStyle(root.closest(".limelight") ?? root).backgroundColor;
  const made = svg("svg", { xmlns: NAMESPACE, width, height, viewBox: `0 0 ${width} ${height}` });
  made.append(svg("rect", { width, height, fill: paper }));
  new Drawing(made, frame).draw(root, frame);
  return made;
}

class Drawing {
  private clips = 0;

  constructor(
    private readonly made: SVGSVGElement,
    private readonly frame: DOMRect,
  ) {}

  draw(element: Element, clip: DOMRect, into: SVGElement = this.made): void {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const hidden = style.display === "none" || style.visibility === "hidden" || style.opacity === "0";
    if (hidden || !meets(box, clip) || element.matches(".tip")) return;
    if (element instanceof SVGSVGElement) return this.drawn(element, box, into);
    this.box(box, style, into);
    if (element instanceof HTMLCanvasElement) return this.canvas(element, box, into);
    if (element instanceof HTMLInputElement || element instanceof HTMLSelectElement) return;
    const [inner, edge] = this.clipped(style, box, clip, into);
    // What lies below its parent's letters (colours of words, bars) comes first.
    const children = [...element.childNodes].sort((one, other) => depth(one) - depth(other));
    for (const child of children) {
      if (child instanceof Text) this.letters(child, style, edge, inner);
      else if (child instanceof Element) this.draw(child, edge, inner);
    }
  }

  private clipped(
    style: CSSStyleDeclaration,
    box: DOMRect,
    clip: DOMRect,
    into: SVGElement,
  ): [SVGElement, DOMRect] {
    if (style.overflowX === "visible" && style.overflowY === "visible") return [into, clip];
    this.clips += 1;
    const id = `cut-${this.clips}`;
    const [x, y] = this.at(box);
    this.made.append(svg("clipPath", { id }, svg("rect", { x, y, width: box.width, height: box.height })));
    const group = svg("g", { "clip-path": `url(#${id})` });
    into.append(group);
    return [group, meeting(box, clip)];
  }

  private box(box: DOMRect, style: CSSStyleDeclaration, into: SVGElement): void {
    const [x, y] = this.at(box);
    const line = Number.parseFloat(style.borderTopWidth) || 0;
    const outline = style.outlineStyle === "solid" ? Number.parseFloat(style.outlineWidth) : 0;
    const all = line > 0 && style.borderLeftWidth === style.borderTopWidth;
    const fill = CLEAR.has(style.backgroundColor) ? "none" : style.backgroundColor;
    const stroke = outline > 0 ? style.outlineColor : all ? style.borderTopColor : "none";
    if (fill === "none" && stroke === "none") return;
    const rx = Number.parseFloat(style.borderTopLeftRadius) || 0;
    const { width, height } = box;
    into.append(svg("rect", { x, y, width, height, rx, fill, stroke, "stroke-width": outline || line }));
  }

  private canvas(canvas: HTMLCanvasElement, box: DOMRect, into: SVGElement): void {
    if (canvas.width === 0 || canvas.height === 0) return;
    const [x, y] = this.at(box);
    const { width, height } = box;
    const image = svg("image", {
      x,
      y,
      width,
      height,
      preserveAspectRatio: "none",
      href: canvas.toDataURL(),
    });
    image.style.setProperty("image-rendering", canvas.width < width ? "pixelated" : "auto");
    into.append(image);
  }

  private drawn(drawing: SVGSVGElement, box: DOMRect, into: SVGElement): void {
    const copy = drawing.cloneNode(true) as SVGSVGElement;
    const [x, y] = this.at(box);
    for (const [name, value] of Object.entries({ x, y, width: box.width, height: box.height }))
      copy.setAttribute(name, String(value));
    const originals = drawing.querySelectorAll<SVGElement>("*");
    copy.querySelectorAll<SVGElement>("*").forEach((part, place) => {
      const style = getComputedStyle(originals[place]!);
      part.setAttribute("fill", style.fill);
      if (part.tagName === "text") part.setAttribute("font-family", style.fontFamily);
      if (part.tagName === "text") part.setAttribute("font-size", style.fontSize);
    });
    into.append(copy);
  }

  /** Word by word, where each stands: lines break as they do in the page. */
  private letters(text: Text, style: CSSStyleDeclaration, clip: DOMRect, into: SVGElement): void {
    const range = document.createRange();
    const turned = turnedPlaces(text);
    for (const found of text.data.matchAll(/\S+/g)) {
      range.setStart(text, found.index);
      range.setEnd(text, found.index + found[0].length);
      const box = range.getBoundingClientRect();
      if (!meets(box, clip) || box.width === 0) continue;
      const [x, y] = this.at(box);
      const size = Number.parseFloat(style.fontSize);
      const base = y + box.height / 2 + size * 0.34;
      const fill =
        turned.find(([start, end]) => found.index >= start && found.index < end)?.[2] ?? style.color;
      const attributes = {
        x,
        y: base,
        fill,
        "font-family": style.fontFamily,
        "font-size": size,
        "font-weight": style.fontWeight,
      };
      into.append(
        svg("text", { ...attributes, textLength: box.width, lengthAdjust: "spacingAndGlyphs" }, found[0]),
      );
    }
  }

  private at(box: DOMRect): [number, number] {
    return [box.x - this.frame.x, box.y - this.frame.y];
  }
}

/** Where text is not written in the page's ink: [start, end, its colour]. */
function turnedPlaces(text: Text): [number, number, string][] {
  if (!("highlights" in CSS)) return [];
  const found: [number, number, string][] = [];
  for (const [colour, name] of Object.entries(HIGHLIGHTS))
    for (const range of CSS.highlights.get(name) ?? [])
      if (range.startContainer === text) found.push([range.startOffset, range.endOffset, colour]);
  return found;
}

const depth = (node: Node): number =>
  node instanceof Element ? Number(getComputedStyle(node).zIndex) || 0 : 0;

function meets(one: DOMRect, other: DOMRect): boolean {
  return one.right > other.left && one.left < other.right && one.bottom > other.top && one.top < other.bottom;
}

function meeting(one: DOMRect, other: DOMRect): DOMRect {
  const [left, top] = [Math.max(one.left, other.left), Math.max(one.top, other.top)];
  const [right, bottom] = [Math.min(one.right, other.right), Math.min(one.bottom, other.bottom)];
  return new DOMRect(left, top, Math.max(0, right - left), Math.max(0, bottom - top));
}
