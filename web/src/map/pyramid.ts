// The geometry of the map: at zoom 0 one tile holds the whole matrix, at the deepest zoom a cell is one token.

/** Cells on a side of a tile. */
export const TILE = 256;

export interface Pyramid {
  readonly rows: number;
  readonly columns: number;
  readonly deepest: number;
}

export interface TileAt {
  readonly zoom: number;
  readonly row: number;
  readonly column: number;
}

export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export function pyramid(rows: number, columns: number): Pyramid {
  const tiles = Math.max(rows, columns, 1) / TILE;
  return { rows, columns, deepest: Math.max(0, Math.ceil(Math.log2(tiles))) };
}

/** Tokens on a side of one cell. */
export const cellSize = (of: Pyramid, zoom: number): number => 2 ** (of.deepest - zoom);

/** The zoom whose cells are at least about one pixel, for `scale` pixels a token. */
export function zoomFor(of: Pyramid, scale: number): number {
  const wanted = of.deepest + Math.round(Math.log2(Math.max(scale, 1e-9)));
  return Math.min(of.deepest, Math.max(0, wanted));
}

/** What a tile covers, in tokens; those at the border end with the matrix. */
export function covered(of: Pyramid, tile: TileAt): Rectangle {
  const span = TILE * cellSize(of, tile.zoom);
  const left = tile.column * span;
  const top = tile.row * span;
  return { left, top, width: Math.min(span, of.columns - left), height: Math.min(span, of.rows - top) };
}

/** The tiles of a zoom that touch what is seen (in tokens), nearest to its middle first. */
export function tilesIn(of: Pyramid, zoom: number, seen: Rectangle): TileAt[] {
  const span = TILE * cellSize(of, zoom);
  const first = (start: number): number => Math.max(0, Math.floor(start / span));
  const last = (end: number, size: number): number => Math.ceil(Math.min(end, size) / span) - 1;
  const found: TileAt[] = [];
  for (let row = first(seen.top); row <= last(seen.top + seen.height, of.rows); row++)
    for (let column = first(seen.left); column <= last(seen.left + seen.width, of.columns); column++)
      found.push({ zoom, row, column });
  const middle = [
    (seen.top + seen.height / 2) / span - 0.5,
    (seen.left + seen.width / 2) / span - 0.5,
  ] as const;
  const away = (tile: TileAt): number => Math.hypot(tile.row - middle[0], tile.column - middle[1]);
  return found.sort((one, other) => away(one) - away(other));
}

/** The tile one zoom further out that covers this one. */
export function parent(tile: TileAt): TileAt {
  return { zoom: tile.zoom - 1, row: tile.row >> 1, column: tile.column >> 1 };
}
