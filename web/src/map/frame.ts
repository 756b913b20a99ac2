// What is drawn around the tiles and over them: lines, names, the cross.

import { MARK } from "../colour/ramp";
import { type Axis, borders, named, names } from "./axes";
import type { Pyramid } from "./pyramid";

/** Space for names: left of the map and above it, in pixels. */
export const LEFT = 118;
export const TOP = 104;
/** Borders of words, sentences, documents. */
const LINES = ["rgb(128 128 128 / 18%)", "rgb(128 128 128 / 45%)", "rgb(228 87 46 / 75%)"] as const;
const FRAME = "rgb(128 128 128 / 60%)";

/** Where the matrix stands on its canvas. */
export interface OnCanvas {
  readonly across: Axis;
  readonly down: Axis;
  readonly matrix: Pyramid;
}

/** The rectangle of the whole matrix, in pixels of the canvas. */
function whole({ across, down, matrix }: OnCanvas): [number, number, number, number] {
  const [width, height] = [matrix.columns * across.scale, matrix.rows * down.scale];
  return [LEFT + across.origin, TOP + down.origin, width, height];
}

export function drawBorders(context: CanvasRenderingContext2D, on: OnCanvas): void {
  const { across, down } = on;
  const [x, y, width, height] = whole(on);
  const right = Math.min(LEFT + across.length, x + width);
  const bottom = Math.min(TOP + down.length, y + height);
  context.lineWidth = 1;
  for (const [place, strength] of borders(across)) {
    const at = Math.round(LEFT + place) + 0.5;
    context.strokeStyle = LINES[strength]!;
    line(context, at, Math.max(TOP, y), at, bottom);
  }
  for (const [place, strength] of borders(down)) {
    const at = Math.round(TOP + place) + 0.5;
    context.strokeStyle = LINES[strength]!;
    line(context, Math.max(LEFT, x), at, right, at);
  }
  context.strokeStyle = FRAME;
  context.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
}

export function drawNames(context: CanvasRenderingContext2D, on: OnCanvas, style: CSSStyleDeclaration): void {
  const { across, down } = on;
  const [x, y] = whole(on);
  context.fillStyle = style.color;
  context.font = `11.5px ${style.fontFamily}`;
  context.textBaseline = "middle";
  const [columns, rows] = [named(across), named(down)];
  context.textAlign = "left";
  for (const { middle, name } of columns ? names(across, columns) : []) {
    context.save();
    context.translate(LEFT + middle, Math.max(TOP, y) - 6);
    context.rotate(-Math.PI / 3.2);
    context.fillText(name, 0, 0, TOP + 12);
    context.restore();
  }
  context.textAlign = "right";
  for (const { middle, name } of rows ? names(down, rows) : [])
    context.fillText(name, Math.max(LEFT, x) - 7, TOP + middle, LEFT - 12);
}

/** `at`: the token under the cross; `size`: tokens on a side of its cell. */
export function drawCross(
  context: CanvasRenderingContext2D,
  on: OnCanvas,
  at: { row: number; column: number },
  size: number,
): void {
  const { across, down } = on;
  const [x, y, width, height] = whole(on);
  const cell = size * across.scale;
  const left = x + Math.floor(at.column / size) * cell;
  const top = y + Math.floor(at.row / size) * cell;
  context.save();
  for (const part of [[LEFT, TOP, across.length, down.length] as const, [x, y, width, height] as const]) {
    context.beginPath();
    context.rect(...part);
    context.clip();
  }
  context.strokeStyle = MARK;
  context.globalAlpha = 0.55;
  line(context, LEFT, top + cell / 2, LEFT + across.length, top + cell / 2);
  line(context, left + cell / 2, TOP, left + cell / 2, TOP + down.length);
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.strokeRect(left, top, Math.max(3, cell), Math.max(3, cell));
  context.restore();
}

/** The canvas as large as what it lies over, and empty. */
export function cleared(canvas: HTMLCanvasElement, over: HTMLElement): CanvasRenderingContext2D {
  const dense = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(over.clientWidth * dense), Math.round(over.clientHeight * dense)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, over.clientWidth, over.clientHeight);
  return context;
}

function line(context: CanvasRenderingContext2D, x: number, y: number, toX: number, toY: number): void {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(toX, toY);
  context.stroke();
}
