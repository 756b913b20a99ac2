// Every question the page asks, with all its params spelled out: the contract's canonical form.

import type { Answer } from "../sources/envelope";
import type { Pack } from "../sources/pack";
import type { Params, Source } from "../sources/source";
import type { Choice, Level, Weigh } from "../state/state";
import { type Row, rowOf, rowOutOf } from "./rows";
import { unitTold } from "./weighs";

export class Questions {
  /** `pack`: of a file, which knows what it holds. */
  constructor(
    readonly source: Source,
    readonly pack: Pack | null = null,
  ) {}

  about(): Promise<Answer> {
    return this.source.ask("about", {});
  }

  async row(attention: number, choice: Choice, by: Level, weigh: Weigh, signal?: AbortSignal): Promise<Row> {
    const { slice, level, direction, place } = choice;
    const shared = { attention, slice, level, direction, by, weigh };
    const rows = this.pack?.holds("rows", shared);
    const row = rows
      ? rowOutOf(await this.source.ask("rows", shared, signal), place)
      : rowOf(await this.source.ask("row", { ...shared, place }, signal));
    return { ...row, unit: unitTold(row.unit, weigh) };
  }

  received(
    attention: number,
    slice: string,
    level: Level,
    weigh: Weigh,
    signal?: AbortSignal,
  ): Promise<Answer> {
    return this.source.ask("received", { attention, slice, level, weigh }, signal);
  }

  heads(attention: number, measure: string): Promise<Answer> {
    return this.source.ask("heads", { attention, measure });
  }

  thumbs(attention: number): Promise<Answer> {
    return this.source.ask("thumbs", { attention });
  }

  tile(params: Params, signal: AbortSignal): Promise<Answer> {
    return this.source.ask("tile", params, signal);
  }

  between(
    attention: number,
    slice: string,
    rows: Level,
    columns: Level,
    weigh: Weigh,
    signal?: AbortSignal,
  ): Promise<Answer> {
    return this.source.ask("between", { attention, slice, rows, columns, weigh }, signal);
  }

  steps(): Promise<Answer> {
    return this.source.ask("steps", {});
  }

  process(params: Params): Promise<Answer> {
    return this.source.ask("process", params);
  }
}
