// What the page shows, as plain data: every control writes here, every view reads from here, a link holds it.

import type { ScaleKind } from "../colour/scale";

export const VIEWS = ["text", "heads", "map", "documents", "steps", "process"] as const;
export type ViewName = (typeof VIEWS)[number];
export const LEVELS = ["token", "word", "sentence", "document"] as const;
export type Level = (typeof LEVELS)[number];
/** "from" the chosen query to the keys, or "to" the chosen key from the queries. */
export type Direction = "from" | "to";
/** How a weight is told: as it is, without what rests on sinks, or times the norm of its value. */
export type Weigh = "weight" | "sink-free" | "value-norm";

/** More pins push the oldest out; a link holds as many. */
export const MOST_PINS = 12;

/** One unit of text, looked at from one side through one slice of the heads. */
export interface Choice {
  readonly slice: string;
  readonly level: Level;
  readonly place: number;
  readonly direction: Direction;
}

export interface State {
  readonly view: ViewName;
  /** Number of the attention in `about`. */
  readonly attention: number;
  readonly slice: string;
  readonly weigh: Weigh;
  /** The unit to choose, and the unit that takes a colour. */
  readonly level: Level;
  readonly by: Level;
  readonly direction: Direction;
  readonly place: number | null;
  readonly pins: readonly Choice[];
  readonly scale: ScaleKind;
  readonly reduce: "mean" | "max";
  readonly measure: string;
  /** The middle of the map in tokens, and pixels a token; null: all of it. */
  readonly map: { readonly row: number; readonly column: number; readonly scale: number } | null;
  readonly rows: Level;
  readonly columns: Level;
  readonly step: number;
  /** What `explain` follows: token, layer, head, each as typed; and the stage that one reads, from 1. */
  readonly trace: readonly string[];
  readonly stage: number;
  readonly theme: "auto" | "light" | "dark";
}

export const START: State = {
  view: "text",
  attention: 0,
  slice: "mean",
  weigh: "weight",
  level: "word",
  by: "word",
  direction: "from",
  place: null,
  pins: [],
  scale: "log",
  reduce: "mean",
  measure: "picture",
  map: null,
  rows: "document",
  columns: "document",
  step: 0,
  trace: [],
  stage: 0,
  theme: "auto",
};

type Listener = (state: State, before: State) => void;

/** The state of one page, and who wants to hear of its changes. */
export class Store {
  private readonly listeners = new Set<Listener>();

  constructor(private current: State) {}

  get state(): State {
    return this.current;
  }

  set(change: Partial<State>): void {
    const before = this.current;
    this.current = { ...before, ...change };
    for (const listener of [...this.listeners]) listener(this.current, before);
  }

  /** Returns how to stop listening. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export const chosen = (state: State): Choice | null =>
  state.place === null ? null : { ...state, place: state.place };
