// What every view is given, and what it gives back.

import type { Theme } from "../colour/ramp";
import type { State, Store } from "../state/state";
import type { About, Attention } from "../subject/about";
import type { Questions } from "../subject/questions";

export interface Context {
  readonly store: Store;
  readonly about: About;
  readonly questions: Questions;
  attention(): Attention;
  theme(): Theme;
  /** Words for everyone, screen readers included: what was chosen, what could not be answered. */
  say(words: string): void;
}

/** The numbers that are seen, for saving as a table. */
export interface Seen {
  readonly name: string;
  readonly table: readonly (readonly (string | number)[])[];
}

export interface View {
  readonly element: HTMLElement;
  /** The controls that this view needs, for the bar above it. */
  readonly controls: readonly HTMLElement[];
  /** Show this state; `before` is null at first. */
  show(state: State, before: State | null): void;
  seen(): Seen | null;
  /** Where the view has a search: put the cursor into it. */
  focusSearch?(): void;
  close(): void;
}
