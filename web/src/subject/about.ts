// What there is to look at: texts, attentions, heads; read once when the page opens.

import type { Answer } from "../sources/envelope";
import { LEVELS, type Level, START, type State, type Weigh } from "../state/state";
import { Side } from "./side";
import { shortened } from "./visible";

/** Characters of a title, a name or a note that are shown. */
const LONGEST_TITLE = 400;
const LONGEST_NOTE = 2000;

export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly how: string;
}

export interface Layer {
  readonly layer: number;
  readonly name: string;
  readonly heads: number;
}

export interface Attention {
  readonly number: number;
  readonly name: string;
  readonly kind: "self" | "cross";
  readonly query: Side;
  readonly key: Side;
  readonly rows: number;
  readonly columns: number;
  readonly layers: readonly Layer[];
  /** Which slices there are; null: every one. */
  readonly slices: readonly string[] | null;
  readonly measures: readonly Measure[];
  /** The ways in which its weights can be told; the first is as they are. */
  readonly weighs: readonly Weigh[];
  readonly note: string;
  /** The slice to begin with. */
  readonly slice: string;
  /** The units to compare first: of the rows and of the columns. */
  readonly between: { readonly rows: Level; readonly columns: Level };
  /** Whether both sides are one text, so that a word is a query and a key at once. */
  readonly one: boolean;
}

export interface About {
  readonly title: string;
  readonly model: string;
  readonly how: string;
  readonly notes: readonly string[];
  readonly question: string | null;
  readonly answer: string | null;
  /** The level to begin with, and all that there are. */
  readonly level: Level;
  readonly levels: readonly Level[];
  readonly sides: readonly Side[];
  readonly attentions: readonly Attention[];
  readonly has: { readonly steps: boolean; readonly process: boolean; readonly read: boolean };
  readonly limits: { readonly text_bytes: number; readonly files: number };
  /** Only of a file: what it does not hold. */
  readonly said: string;
  readonly made: { readonly limelight: string; readonly date: string };
}

interface SideHead {
  name: string;
  text: string;
  documents: string[];
  same_as: number | null;
  specials: [number, string][];
}

type AttentionHead = Omit<Attention, "query" | "key" | "number" | "one"> & { query: number; key: number };

const title = (text: string): string => shortened(text, LONGEST_TITLE);
const note = (text: string): string => shortened(text, LONGEST_NOTE);

export function readAbout(answer: Answer): About {
  const head = answer.head as unknown as Omit<About, "sides" | "attentions" | "said"> & {
    sides: SideHead[];
    attentions: AttentionHead[];
    file?: { said: string };
  };
  const sides = head.sides.map(
    (side, number) =>
      new Side(
        answer,
        number,
        title(side.name),
        side.text,
        side.documents,
        side.same_as,
        side.specials ?? [],
      ),
  );
  const attentions = head.attentions.map((attention, number) => ({
    ...attention,
    weighs: attention.weighs ?? [START.weigh],
    between: attention.between ?? { rows: START.rows, columns: START.columns },
    name: title(attention.name),
    layers: attention.layers.map((layer) => ({ ...layer, name: title(layer.name) })),
    note: note(attention.note),
    number,
    query: sides[attention.query]!,
    key: sides[attention.key]!,
    one: attention.query === attention.key,
  }));
  return {
    ...head,
    title: title(head.title),
    model: title(head.model),
    how: note(head.how),
    question: head.question && note(head.question),
    answer: head.answer && note(head.answer),
    notes: (head.notes ?? []).map(note),
    sides,
    attentions,
    levels: head.levels ?? LEVELS,
    said: head.file?.said ?? "",
  };
}

/** What changes when another attention is looked at; the way of telling weights stays where there is the same, and so
 *  do the units of the table where a reader has chosen them. */
export function movedTo(about: About, number: number, state: State): Partial<State> {
  const { slice, weighs, between } = about.attentions[number]!;
  const before = about.attentions[state.attention]!.between;
  return {
    attention: number,
    slice,
    weigh: weighs.includes(state.weigh) ? state.weigh : START.weigh,
    rows: state.rows === before.rows ? between.rows : state.rows,
    columns: state.columns === before.columns ? between.columns : state.columns,
    place: null,
    pins: [],
    map: null,
  };
}

/** What the page shows of an attention before anything is chosen. */
export function startOf(about: About, number = 0): State {
  const level = about.level ?? START.level;
  const { slice, between } = about.attentions[number] ?? { slice: START.slice, between: {} };
  return { ...START, level, by: level, slice, ...between };
}
