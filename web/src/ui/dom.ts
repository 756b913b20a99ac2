// Elements are made here and nowhere else. Text becomes text nodes only, so nothing in it can be markup.

type Child = Node | string | number | null | undefined | false;
type Attributes = Readonly<Record<string, unknown>>;

const SVG = "http://www.w3.org/2000/svg";

/** `el("button", { class: "quiet", onclick: go }, "Go")` */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  dress(made, attributes);
  fill(made, ...children);
  return made;
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag);
  dress(made, attributes);
  fill(made, ...children);
  return made;
}

function dress(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "style") paint(element as HTMLElement, value as Record<string, string>);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Style by property, which a strict Content-Security-Policy allows; a style attribute it would not. */
export function paint(element: HTMLElement | SVGElement, style: Record<string, string>): void {
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
}

export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(
    ...children
      .filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child))),
  );
}
