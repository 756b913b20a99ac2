// The cells of a tile as lines of a table.

import type { Attention } from "../subject/about";
import { cellSize, type Pyramid, TILE } from "./pyramid";
import type { Tile } from "./tiles";

/** Of each cell: first query and key, the tokens it takes in, its number. */
export function cellLines(tile: Tile, matrix: Pyramid, attention: Attention): (string | number)[][] {
  const size = cellSize(matrix, tile.at.zoom);
  const lines: (string | number)[][] = [];
  for (let cell = 0; cell < tile.cells.length; cell++) {
    const row = (tile.at.row * TILE + Math.floor(cell / tile.columns)) * size;
    const column = (tile.at.column * TILE + (cell % tile.columns)) * size;
    const [rowEnd, columnEnd] = [Math.min(row + size, matrix.rows), Math.min(column + size, matrix.columns)];
    const [query, key] = [attention.query.label("token", row), attention.key.label("token", column)];
    lines.push([query, key, row, rowEnd - 1, column, columnEnd - 1, tile.cells[cell]!]);
  }
  return lines;
}
