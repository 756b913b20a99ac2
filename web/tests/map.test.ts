import { expect, test } from "vitest";
import { cellSize, covered, parent, pyramid, TILE, tilesIn, zoomFor } from "../src/map/pyramid";

const matrix = pyramid(1009, 523);

test("the deepest zoom has a token a cell, zoom 0 is one tile", () => {
  expect(matrix.deepest).toBe(2);
  expect([0, 1, 2].map((zoom) => cellSize(matrix, zoom))).toEqual([4, 2, 1]);
  expect(covered(matrix, { zoom: 0, row: 0, column: 0 })).toEqual({
    left: 0,
    top: 0,
    width: 523,
    height: 1009,
  });
  expect(pyramid(256, 7).deepest).toBe(0);
  expect(pyramid(257, 7).deepest).toBe(1);
  expect(pyramid(0, 0).deepest).toBe(0);
});

test("tiles of a zoom cover the matrix once", () => {
  for (const zoom of [0, 1, 2]) {
    const tiles = tilesIn(matrix, zoom, { left: 0, top: 0, width: 523, height: 1009 });
    const area = tiles
      .map((tile) => covered(matrix, tile))
      .reduce((sum, { width, height }) => sum + width * height, 0);
    expect(area).toBe(523 * 1009);
    expect(new Set(tiles.map(({ row, column }) => `${row}/${column}`)).size).toBe(tiles.length);
  }
});

test("only tiles in sight are asked for, the middle one first", () => {
  const tiles = tilesIn(matrix, 2, { left: 250, top: 500, width: 20, height: 30 });
  expect(tiles.map(({ row, column }) => [row, column])).toEqual(
    expect.arrayContaining([
      [1, 0],
      [1, 1],
      [2, 0],
      [2, 1],
    ]),
  );
  expect(tiles.length).toBe(4);
  expect(tilesIn(matrix, 2, { left: 0, top: 0, width: 523, height: 1009 })[0]).toEqual({
    zoom: 2,
    row: 1,
    column: 1,
  });
  expect(tilesIn(matrix, 1, { left: 0, top: 0, width: 0, height: 0 })).toEqual([]);
});

test("zooms go with the pixels of a token, and end at the ends", () => {
  expect([0.01, 0.25, 0.5, 1, 40].map((pixels) => zoomFor(matrix, pixels))).toEqual([0, 0, 1, 2, 2]);
  expect(parent({ zoom: 2, row: 3, column: 1 })).toEqual({ zoom: 1, row: 1, column: 0 });
  expect(TILE).toBe(256);
});
