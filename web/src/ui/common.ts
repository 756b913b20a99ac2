// Controls that several views share; each writes one part of the state and shows it.

import type { ScaleKind } from "../colour/scale";
import type { Direction, Level, State, Weigh } from "../state/state";
import { type Attention, movedTo } from "../subject/about";
import { sliceName } from "../subject/slices";
import { WEIGH_NAMES } from "../subject/weighs";
import type { Context } from "./context";
import { Choices, type Option, Select } from "./controls";
import { el, fill } from "./dom";

export interface Control {
  readonly element: HTMLElement;
  show(state: State): void;
}

const named = (levels: readonly Level[]): Option[] => levels.map((value) => ({ value, name: value }));

export function levelControl(context: Context): Control {
  const { store, about } = context;
  const select = new Select("Choose a", named(about.levels), (value) => {
    const level = value as Level;
    const { state } = store;
    const { query, key } = context.attention();
    const side = state.direction === "from" ? query : key;
    const place = state.place === null ? null : side.moved(state.place, state.level, level);
    store.set({ level, by: level, place: place === null || place < 0 ? null : place });
  });
  return { element: select.element, show: (state) => select.set(state.level) };
}

/** A file has of each level the rows by the same, and what each word of a document is. */
export function byControl({ store, about }: Context): Control {
  const select = new Select("colour by", [], (value) => store.set({ by: value as Level }));
  let offered = "";
  return {
    element: select.element,
    show: ({ level, by }) => {
      const inFile: Level[] = level === "document" ? ["word", level] : [level];
      const levels = about.said === "" ? about.levels : inFile;
      if (levels.join() !== offered) select.offer(named(levels));
      offered = levels.join();
      select.element.hidden = levels.length < 2;
      select.set(by);
    },
  };
}

export function directionControl(context: Context): Control {
  const choices = new Choices(
    "Direction",
    [
      { value: "from", name: "attends to" },
      { value: "to", name: "receives from" },
    ],
    (value) =>
      context.store.set(
        context.attention().one
          ? { direction: value as Direction }
          : { direction: value as Direction, place: null },
      ),
  );
  return { element: choices.element, show: (state) => choices.set(state.direction) };
}

export function scaleControl({ store }: Context): Control {
  const choices = new Choices(
    "Scale",
    [
      { value: "log", name: "log" },
      { value: "linear", name: "linear" },
    ],
    (value) => store.set({ scale: value as ScaleKind }),
  );
  return { element: choices.element, show: (state) => choices.set(state.scale) };
}

/** How weights are told; not there where there is nothing to choose. */
export function weighControl(context: Context): Control {
  const element = el("div", {});
  let choices: Choices | null = null;
  let offered = "";
  return {
    element,
    show: (state) => {
      const { weighs } = context.attention();
      if (weighs.join() !== offered) {
        offered = weighs.join();
        const options = weighs.map((value) => ({ value, name: WEIGH_NAMES[value] }));
        choices = new Choices("Weights", options, (value) => context.store.set({ weigh: value as Weigh }));
        fill(element, choices.element);
        element.hidden = weighs.length < 2;
      }
      choices?.set(state.weigh);
    },
  };
}

/** Which heads: the mean over all, over a layer, or one head; several are chosen in the view of the heads. */
export function sliceControl(context: Context): Control {
  const select = new Select("Heads", [], (value) => context.store.set({ slice: value }));
  let offered = "";
  return {
    element: select.element,
    show: (state) => {
      const attention = context.attention();
      const options = sliceOptions(attention, state.slice);
      const key = `${attention.number} ${state.slice}`;
      if (key !== offered) select.offer(options);
      offered = key;
      select.set(state.slice);
    },
  };
}

function sliceOptions(attention: Attention, current: string): Option[] {
  const option = (value: string, group?: string): Option => ({
    value,
    name: sliceName(value, attention),
    ...(group ? { group } : {}),
  });
  const all = attention.slices
    ? attention.slices.map((slice) => option(slice))
    : [
        option("mean"),
        ...attention.layers.flatMap(({ layer, heads }) => [
          option(String(layer), `layer ${layer}`),
          ...Array.from({ length: heads }, (_, head) => option(`${layer}.${head}`, `layer ${layer}`)),
        ]),
      ];
  return all.some(({ value }) => value === current) ? all : [...all, option(current)];
}

export function attentionControl({ store, about }: Context): Control {
  const options = about.attentions.map(({ number, name }) => ({ value: String(number), name }));
  const select = new Select("Attention", options, (value) =>
    store.set(movedTo(about, Number(value), store.state)),
  );
  return { element: select.element, show: (state) => select.set(String(state.attention)) };
}
