// The tiles of one matrix, slice and way to reduce: asked for as they come into sight, given up as they leave it.

import { isAbort, Refusal } from "../sources/source";
import type { Questions } from "../subject/questions";
import type { TileAt } from "./pyramid";

export interface Tile {
  readonly at: TileAt;
  readonly rows: number;
  readonly columns: number;
  readonly cells: Float32Array;
  /** Whether the numbers stand as the Reading has them; of a file they are for colour. */
  readonly exact: boolean;
  /** 255: every entry of the cell may be seen, 0: none; null: all may. */
  readonly open: Uint8Array | null;
  readonly high: number;
  readonly unit: string;
  readonly how: string;
}

const AT_ONCE = 4;
const MOST = 160;

export const tileKey = ({ zoom, row, column }: TileAt): string => `${zoom}/${row}/${column}`;

export class Tiles {
  private readonly kept = new Map<string, Tile>();
  private readonly missing = new Set<string>();
  private readonly asked = new Map<string, AbortController>();
  private wanted: readonly TileAt[] = [];

  constructor(
    private readonly questions: Questions,
    private readonly params: { attention: number; slice: string; reduce: string; weigh: string },
    private readonly came: (refusal: string | null) => void,
  ) {}

  get(at: TileAt): Tile | null {
    return this.kept.get(tileKey(at)) ?? null;
  }

  /** A source without this tile: a file that holds the map from afar only. */
  lacks(at: TileAt): boolean {
    return this.missing.has(tileKey(at));
  }

  /** These are in sight now, the most wanted first; what was asked for and is not among them is given up. */
  want(tiles: readonly TileAt[]): void {
    this.wanted = tiles;
    const keys = new Set(tiles.map(tileKey));
    for (const [key, asked] of this.asked)
      if (!keys.has(key)) {
        asked.abort();
        this.asked.delete(key);
      }
    this.askOn();
  }

  close(): void {
    this.want([]);
  }

  private askOn(): void {
    for (const at of this.wanted) {
      if (this.asked.size >= AT_ONCE) return;
      const key = tileKey(at);
      if (!this.kept.has(key) && !this.asked.has(key) && !this.missing.has(key)) void this.ask(at, key);
    }
  }

  private async ask(at: TileAt, key: string): Promise<void> {
    const asked = new AbortController();
    this.asked.set(key, asked);
    let refusal: string | null = null;
    try {
      const answer = await this.questions.tile({ ...this.params, ...at }, asked.signal);
      const [rows, columns] = answer.shape("cells") as [number, number];
      const cells = answer.numbers("cells");
      this.keep(key, {
        at,
        rows,
        columns,
        cells,
        exact: answer.scale("cells") === null,
        open: answer.has("seen") ? answer.array<Uint8Array>("seen") : null,
        high: cells.reduce((most, value) => Math.max(most, value), 0),
        unit: String(answer.head.unit),
        how: String(answer.head.how),
      });
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Refusal)) throw error;
      refusal = error.message;
      this.missing.add(key);
    } finally {
      if (this.asked.get(key) === asked) this.asked.delete(key);
    }
    this.came(refusal);
    this.askOn();
  }

  private keep(key: string, tile: Tile): void {
    this.kept.set(key, tile);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= MOST) return;
      if (!this.wanted.some((at) => tileKey(at) === old) && !old.startsWith("0/")) this.kept.delete(old);
    }
  }
}
