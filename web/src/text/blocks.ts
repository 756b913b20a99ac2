// The text of a side as it is shown: cut into blocks, unseen signs written out, very long words shortened.
// Each block knows which character of the side's text stands where in it.

import type { Side } from "../subject/side";
import { LONGEST_WORD, label, shortened, UNSEEN, visible } from "../subject/visible";

/** Lines are gathered until a block has this many characters … */
const ENOUGH = 600;
/** … and a line longer than this is cut. */
const MOST = 4000;

export interface Special {
  readonly token: number;
  readonly start: number;
  readonly end: number;
}

export interface Block {
  readonly document: number;
  readonly text: string;
  /** The characters of the side's text that it shows. */
  readonly start: number;
  readonly end: number;
  /** From `source[i]` on, characters stand one to one from `shown[i]` on, up to the next of these places. */
  readonly source: readonly number[];
  readonly shown: readonly number[];
  readonly specials: readonly Special[];
}

interface Swap {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly token?: number;
}

/** All blocks of a side, document by document; `specials`: with the tokens that are not of the text. */
export function blocksOf(side: Side, specials: boolean): Block[] {
  const swaps = swapsOf(side, specials);
  const made: Block[] = [];
  const documents = Math.max(1, side.count("document"));
  let next = 0;
  for (let document = 0; document < documents; document++) {
    const start = document === 0 ? 0 : side.start("document", document);
    const end = document + 1 < documents ? side.start("document", document + 1) : side.text.length;
    const inside: Swap[] = [];
    const last = document + 1 === documents;
    while (next < swaps.length && (last || swaps[next]!.start < end)) inside.push(swaps[next++]!);
    made.push(...documentBlocks(side.text, document, start, end, inside));
  }
  return made;
}

/** Where the character stands that begins a span. */
export function toShown(block: Block, character: number): number {
  const at = lastUpTo(block.source, character);
  const room = (block.shown[at + 1] ?? block.text.length) - block.shown[at]!;
  return block.shown[at]! + Math.max(0, Math.min(character - block.source[at]!, room));
}

/** Where a span ends that ends before this character of the side's text. */
export function toShownEnd(block: Block, character: number): number {
  const at = lastUpTo(block.source, character - 1);
  const [sourceRoom, shownRoom] = [
    (block.source[at + 1] ?? block.end) - block.source[at]!,
    (block.shown[at + 1] ?? block.text.length) - block.shown[at]!,
  ];
  const length = character - block.source[at]!;
  return block.shown[at]! + (length >= sourceRoom ? shownRoom : Math.max(0, Math.min(length, shownRoom)));
}

/** Which character of the side's text is shown there. */
export function toSource(block: Block, shown: number): number {
  const at = lastUpTo(block.shown, shown);
  const room = (block.source[at + 1] ?? block.end) - block.source[at]!;
  return block.source[at]! + Math.max(0, Math.min(shown - block.shown[at]!, room - 1));
}

function lastUpTo(places: readonly number[], wanted: number): number {
  let low = 0;
  let high = places.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (places[middle]! <= wanted) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** What is not shown as it stands, in the order of the text, without overlaps. */
function swapsOf(side: Side, specials: boolean): Swap[] {
  const swaps: Swap[] = [];
  for (let word = 0; word < side.count("word"); word++) {
    const [start, end] = [side.start("word", word), side.end("word", word)];
    if (end - start > LONGEST_WORD) swaps.push({ start, end, text: shortened(side.text.slice(start, end)) });
  }
  const long = [...swaps];
  let next = 0;
  for (const found of side.text.matchAll(UNSEEN)) {
    while (next < long.length && long[next]!.end <= found.index) next++;
    if (next < long.length && long[next]!.start <= found.index) continue;
    swaps.push({ start: found.index, end: found.index + found[0].length, text: visible(found[0]) });
  }
  if (specials)
    for (let token = 0; token < side.count("token"); token++) {
      const name = side.special("token", token);
      const start = side.start("token", token);
      if (name !== null) swaps.push({ start, end: start, text: ` ${label(name)} `, token });
    }
  return swaps.sort((one, other) => one.start - other.start || one.end - other.end);
}

function documentBlocks(text: string, document: number, start: number, end: number, swaps: Swap[]): Block[] {
  const pieces = new Pieces(document, start);
  let at = start;
  for (const swap of swaps) {
    if (swap.start < at) continue;
    for (const line of lines(text.slice(at, swap.start))) at = pieces.plain(line, at);
    at = pieces.swapped(swap);
  }
  for (const line of lines(text.slice(at, end))) at = pieces.plain(line, at);
  return pieces.finish();
}

/** Lines with their ends; lines that are too long are cut after a space, where there is one. */
function lines(text: string): string[] {
  return (text.match(/[^\n]*\n|[^\n]+$/g) ?? []).flatMap((line) =>
    line.length <= MOST
      ? [line]
      : (line.match(new RegExp(`[^]{1,${MOST}}(?:\\s|$)|[^]{1,${MOST}}`, "g")) ?? []),
  );
}

/** Gathers what a block shows, and begins the next one where it has enough. */
class Pieces {
  private readonly made: Block[] = [];
  private text = "";
  private source: number[];
  private shown: number[] = [0];
  private specials: Special[] = [];

  constructor(
    private readonly document: number,
    private start: number,
  ) {
    this.source = [start];
  }

  plain(line: string, at: number): number {
    if (this.text.length + line.length > MOST && this.text.length > 0) this.cut(at);
    this.text += line;
    if (line.endsWith("\n") && this.text.length >= ENOUGH) this.cut(at + line.length);
    return at + line.length;
  }

  swapped({ start, end, text, token }: Swap): number {
    this.anchor(start);
    if (token !== undefined)
      this.specials.push({ token, start: this.text.length + 1, end: this.text.length + text.length - 1 });
    this.text += text;
    this.anchor(end);
    return end;
  }

  finish(): Block[] {
    this.text = this.text.replace(/\n+$/, ""); // the gap before the next document is drawn otherwise
    if (this.text.length > 0) this.cut(this.start);
    return this.made;
  }

  private anchor(source: number): void {
    if (this.source.at(-1) === source && this.shown.at(-1) === this.text.length) return;
    this.source.push(source);
    this.shown.push(this.text.length);
  }

  private cut(next: number): void {
    const last = this.source.length - 1;
    const end = this.source[last]! + (this.text.length - this.shown[last]!);
    this.made.push({
      document: this.document,
      text: this.text,
      start: this.start,
      end,
      source: this.source,
      shown: this.shown,
      specials: this.specials,
    });
    this.text = "";
    this.start = Math.max(next, end);
    this.source = [this.start];
    this.shown = [0];
    this.specials = [];
  }
}
