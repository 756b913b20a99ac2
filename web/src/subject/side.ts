// One side of an attention: a text, and which characters each token, word, sentence, document covers.

import type { Answer } from "../sources/envelope";
import type { Level } from "../state/state";
import { label } from "./visible";

export class Side {
  private readonly spans = new Map<Level, Uint32Array>();
  private readonly tokens = new Map<Level, Uint32Array>();
  private readonly specials: ReadonlyMap<number, string>;

  constructor(
    private readonly about: Answer,
    readonly number: number,
    readonly name: string,
    readonly text: string,
    readonly documents: readonly string[],
    readonly sameAs: number | null,
    specials: readonly (readonly [number, string])[],
  ) {
    this.specials = new Map(specials);
  }

  /** (units × 2): start and end in `text`, one after the other. */
  spansOf(level: Level): Uint32Array {
    let found = this.spans.get(level);
    if (!found) {
      found = this.about.array<Uint32Array>(`${this.number}.${level}`);
      this.spans.set(level, found);
    }
    return found;
  }

  count(level: Level): number {
    return this.spansOf(level).length / 2;
  }

  start(level: Level, place: number): number {
    return this.spansOf(level)[2 * place]!;
  }

  end(level: Level, place: number): number {
    return this.spansOf(level)[2 * place + 1]!;
  }

  /** What a special token is called, null for one of the text. */
  special(level: Level, place: number): string | null {
    return level === "token" ? (this.specials.get(place) ?? null) : null;
  }

  /** What a unit is called where it stands alone. */
  label(level: Level, place: number, longest?: number): string {
    if (place < 0 || place >= this.count(level)) return "none";
    if (level === "document") return label(this.documents[place] || this.unnamed(place), longest);
    const special = this.special(level, place);
    return special ? label(special, longest) : label(this.cut(level, place, longest), longest);
  }

  /** The number of the document in which a unit lies, −1 for none. */
  documentOf(level: Level, place: number): number {
    if (level === "document") return place;
    const name = level === "token" ? `${this.number}.document.of` : `${this.number}.${level}.in`;
    return this.about.array<Int32Array>(name)[place] ?? -1;
  }

  /** The unit of a level that covers a character, −1 where none does. */
  at(level: Level, character: number): number {
    const spans = this.spansOf(level);
    let low = 0;
    let high = spans.length / 2 - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (spans[2 * middle]! <= character) low = middle;
      else high = middle - 1;
    }
    return spans.length > 0 && spans[2 * low]! <= character && character < spans[2 * low + 1]! ? low : -1;
  }

  /** The same place in the text at another level; the nearest unit after it where none covers it. */
  moved(place: number, from: Level, to: Level): number {
    const units = this.count(to);
    if (from === to || units === 0) return Math.min(place, units - 1);
    const start = this.start(from, Math.min(place, this.count(from) - 1));
    const covering = this.at(to, start);
    if (covering >= 0) return covering;
    const spans = this.spansOf(to);
    for (let unit = 0; unit < units; unit++) if (spans[2 * unit + 1]! > start) return unit;
    return units - 1;
  }

  /** (units × 2): the first token of each unit and the one after its last, one after the other. */
  tokensOf(level: Level): Uint32Array {
    const known = this.tokens.get(level);
    if (known) return known;
    const found = new Uint32Array(2 * this.count(level));
    if (level === "token")
      for (let unit = 0; unit < found.length / 2; unit++) found.set([unit, unit + 1], 2 * unit);
    else {
      const of = this.about.array<Int32Array>(`${this.number}.${level}.of`);
      for (let token = 0; token < of.length; token++) {
        const unit = of[token]!;
        if (unit < 0) continue;
        if (found[2 * unit + 1] === 0) found[2 * unit] = token;
        found[2 * unit + 1] = token + 1;
      }
    }
    this.tokens.set(level, found);
    return found;
  }

  /** The unit of a level in which a token lies, −1 for none. */
  unitOf(token: number, level: Level): number {
    if (level === "token") return token;
    return this.about.array<Int32Array>(`${this.number}.${level}.of`)[token] ?? -1;
  }

  /** A text of one document goes by the name of its side. */
  private unnamed(place: number): string {
    return (this.documents.length === 1 && this.name) || `document ${place + 1}`;
  }

  /** Only the beginning of what may be very long. */
  private cut(level: Level, place: number, longest = 24): string {
    const start = this.start(level, place);
    return this.text.slice(start, Math.min(this.end(level, place), start + longest + 1));
  }
}
