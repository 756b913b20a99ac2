// The few kinds of controls: native elements, so that keyboard and screen readers know them.

import { el, fill } from "./dom";

export interface Option {
  readonly value: string;
  readonly name: string;
  readonly group?: string;
}

let made = 0;
const fresh = (): string => {
  made += 1;
  return `limelight-${made}`;
};

/** A labelled list to choose one from; `set` shows another choice without asking. */
export class Select {
  readonly element: HTMLElement;
  private readonly select: HTMLSelectElement;

  constructor(name: string, options: readonly Option[], change: (value: string) => void) {
    this.select = el("select", { onchange: () => change(this.select.value) });
    this.element = el("label", { class: "control" }, el("span", {}, name), this.select);
    this.offer(options);
  }

  offer(options: readonly Option[]): void {
    const groups = new Map<string, HTMLOptGroupElement>();
    const children: Element[] = [];
    for (const { value, name, group } of options) {
      const option = el("option", { value }, name);
      if (!group) children.push(option);
      else if (groups.has(group)) groups.get(group)!.append(option);
      else {
        const made = el("optgroup", { label: group }, option);
        groups.set(group, made);
        children.push(made);
      }
    }
    fill(this.select, ...children);
  }

  set(value: string): void {
    if (this.select.value !== value) this.select.value = value;
  }
}

/** A few choices side by side, of which one holds. */
export class Choices {
  readonly element: HTMLFieldSetElement;
  private readonly inputs: HTMLInputElement[];

  constructor(name: string, options: readonly Option[], change: (value: string) => void) {
    const group = fresh();
    this.inputs = options.map(({ value }) =>
      el("input", { type: "radio", name: group, value, onchange: () => change(value) }),
    );
    const labels = options.map((option, place) =>
      el("label", {}, this.inputs[place]!, el("span", {}, option.name)),
    );
    this.element = el(
      "fieldset",
      { class: "control choices" },
      el("legend", {}, name),
      el("div", {}, ...labels),
    );
  }

  set(value: string): void {
    for (const input of this.inputs) input.checked = input.value === value;
  }
}

export function button(
  name: string,
  press: () => void,
  more: Readonly<Record<string, unknown>> = {},
): HTMLButtonElement {
  return el("button", { type: "button", onclick: press, ...more }, name);
}
