// Tiles as pixels: one colour a cell, cells that may not be seen in grey; nearer tiles over those from afar.

import { STEPS, type Theme, table } from "../colour/ramp";
import type { Scale } from "../colour/scale";
import { covered, type Pyramid, parent, type TileAt } from "./pyramid";
import type { Tile, Tiles } from "./tiles";

/** Cells that the mask closes, red green blue. */
export const CLOSED: Record<Theme, readonly [number, number, number]> = {
  light: [232, 233, 228],
  dark: [40, 45, 56],
};

/** From tokens to pixels of the canvas. */
export interface Projection {
  readonly scale: number;
  readonly left: number;
  readonly top: number;
}

export class Painter {
  private pictures = new WeakMap<Tile, { key: string; canvas: HTMLCanvasElement }>();

  paint(
    context: CanvasRenderingContext2D,
    tiles: Tiles,
    inSight: readonly TileAt[],
    matrix: Pyramid,
    { scale: zoom, left, top }: Projection,
    scale: Scale,
    theme: Theme,
  ): void {
    context.imageSmoothingEnabled = false;
    for (const wanted of inSight) {
      const place = covered(matrix, wanted);
      const found = nearest(tiles, wanted);
      if (!found) continue;
      const whole = covered(matrix, found.at);
      const [perColumn, perRow] = [found.columns / whole.width, found.rows / whole.height];
      context.drawImage(
        this.picture(found, scale, theme),
        (place.left - whole.left) * perColumn,
        (place.top - whole.top) * perRow,
        place.width * perColumn,
        place.height * perRow,
        left + place.left * zoom,
        top + place.top * zoom,
        place.width * zoom,
        place.height * zoom,
      );
    }
  }

  private picture(tile: Tile, scale: Scale, theme: Theme): HTMLCanvasElement {
    const key = `${scale.kind} ${scale.high} ${theme}`;
    const known = this.pictures.get(tile);
    if (known?.key === key) return known.canvas;
    const canvas = known?.canvas ?? document.createElement("canvas");
    [canvas.width, canvas.height] = [tile.columns, tile.rows];
    canvas.getContext("2d")!.putImageData(coloured(tile, scale, theme), 0, 0);
    this.pictures.set(tile, { key, canvas });
    return canvas;
  }
}

/** The tile, or the nearest one that covers it from afar. */
export function nearest(tiles: Tiles, wanted: TileAt): Tile | null {
  for (let at = wanted; at.zoom >= 0; at = parent(at)) {
    const found = tiles.get(at);
    if (found) return found;
  }
  return null;
}

export function coloured(tile: Tile, scale: Scale, theme: Theme): ImageData {
  const image = new ImageData(tile.columns, tile.rows);
  const colours = table(theme);
  const closed = CLOSED[theme];
  for (let cell = 0; cell < tile.cells.length; cell++) {
    const at = 3 * Math.round(scale.share(tile.cells[cell]!) * (STEPS - 1));
    const open = tile.open ? tile.open[cell]! / 255 : 1;
    for (let part = 0; part < 3; part++)
      image.data[4 * cell + part] = open > 0 ? colours[at + part]! : closed[part]!;
    image.data[4 * cell + 3] = 255;
  }
  return image;
}
