// What of the matrix is in sight: dragged, scrolled and zoomed, fitted to the field, put where a link says.

import { select } from "d3-selection";
import { type ZoomBehavior, type ZoomTransform, zoom, zoomIdentity } from "d3-zoom";
import type { State } from "../state/state";
import { LEFT, TOP } from "./frame";
import { type Pyramid, pyramid, type Rectangle } from "./pyramid";

/** Pixels a token, at most. */
const NEAREST = 64;

/** The middle of what is in sight in tokens, and pixels a token; null: all of it. */
type Placed = State["map"];

export class Viewport {
  /** Where entry (0, 0) lies on the field, and pixels a token. */
  transform: ZoomTransform = zoomIdentity;
  private matrix: Pyramid = pyramid(1, 1);
  private readonly gesture: ZoomBehavior<HTMLElement, unknown>;
  /** What was last put here or told: what comes from elsewhere is another. */
  private placed: Placed = null;
  private laid = false;

  /** `moved` hears of every movement, `kept` of where one has ended. */
  constructor(
    private readonly field: HTMLElement,
    moved: () => void,
    private readonly kept: (placed: Placed) => void,
  ) {
    this.gesture = zoom<HTMLElement, unknown>()
      .on("zoom", (event: { transform: ZoomTransform }) => {
        this.transform = event.transform;
        moved();
      })
      .on("end", () => this.ended());
    select(field).call(this.gesture).on("dblclick.zoom", null);
    field.addEventListener("dblclick", (event) => this.zoomBy(2, this.within(event)));
  }

  /** Whether there is something to draw. */
  get ready(): boolean {
    return this.laid && this.width > 0 && this.height > 0;
  }

  get width(): number {
    return this.field.clientWidth - LEFT;
  }

  get height(): number {
    return this.field.clientHeight - TOP;
  }

  /** Look at another matrix, from where a link says. */
  open(matrix: Pyramid, placed: Placed): void {
    this.matrix = matrix;
    this.placed = placed;
    this.laid = false;
    this.resized();
  }

  /** Go where a link says, unless one is there. */
  show(placed: Placed): void {
    if (placed === this.placed) return;
    this.placed = placed;
    if (this.laid) this.place();
  }

  /** All of it. */
  fit(): void {
    this.move(this.fitting());
    this.keep(null);
  }

  /** Around a place of the field, or around the middle. */
  zoomBy(factor: number, around: readonly [number, number] = this.middle): void {
    this.gesture.scaleBy(select(this.field), factor, [...around]);
  }

  /** Bring an entry into sight, where it is not. */
  reach(row: number, column: number): void {
    const [x, y] = this.onField(row, column);
    if (x < LEFT || x > LEFT + this.width || y < TOP || y > TOP + this.height)
      this.gesture.translateTo(select(this.field), column, row);
  }

  /** The middle of an entry on the field. */
  onField(row: number, column: number): [number, number] {
    const { k, x, y } = this.transform;
    return [x + (column + 0.5) * k, y + (row + 0.5) * k];
  }

  /** Where a mouse points, in pixels of the field. */
  within(event: MouseEvent): [number, number] {
    const corner = this.field.getBoundingClientRect();
    return [event.clientX - corner.x, event.clientY - corner.y];
  }

  /** The place of the matrix at a place of the field, in tokens. */
  at([px, py]: readonly [number, number]): { row: number; column: number } {
    const { k, x, y } = this.transform;
    return { row: (py - y) / k, column: (px - x) / k };
  }

  get middle(): [number, number] {
    return [LEFT + this.width / 2, TOP + this.height / 2];
  }

  inSight(): Rectangle {
    const { row, column } = this.at([LEFT, TOP]);
    const last = this.at([LEFT + this.width, TOP + this.height]);
    const [left, top] = [Math.max(0, column), Math.max(0, row)];
    return {
      left,
      top,
      width: Math.min(this.matrix.columns, last.column) - left,
      height: Math.min(this.matrix.rows, last.row) - top,
    };
  }

  /** The field has another size, or none yet. */
  resized(): void {
    const { width, height } = this;
    if (width <= 0 || height <= 0) return;
    const { k } = this.fitting();
    const { rows, columns } = this.matrix;
    const [across, down] = [width / 2 / k, height / 2 / k];
    this.gesture
      .extent([
        [LEFT, TOP],
        [LEFT + width, TOP + height],
      ])
      .scaleExtent([k * 0.7, Math.max(NEAREST, k)])
      .translateExtent([
        [-across, -down],
        [columns + across, rows + down],
      ]);
    if (this.laid) return;
    this.laid = true;
    this.place();
  }

  // ── Inside ──

  private place(): void {
    const [x, y] = this.middle;
    this.move(
      this.placed
        ? zoomIdentity
            .translate(x - this.placed.column * this.placed.scale, y - this.placed.row * this.placed.scale)
            .scale(this.placed.scale)
        : this.fitting(),
    );
  }

  private fitting(): ZoomTransform {
    const { rows, columns } = this.matrix;
    const most = Math.min(this.width / columns, this.height / rows, NEAREST);
    return zoomIdentity.translate(LEFT, TOP).scale(Math.max(most, 1e-6));
  }

  private move(to: ZoomTransform): void {
    this.gesture.transform(select(this.field), to);
  }

  /** The place goes into the link when a movement has ended. */
  private ended(): void {
    const { k, x, y } = this.transform;
    const fit = this.fitting();
    const whole = Math.abs(k - fit.k) < 1e-9 && Math.abs(x - fit.x) < 0.5 && Math.abs(y - fit.y) < 0.5;
    this.keep(whole ? null : { ...this.at(this.middle), scale: k });
  }

  private keep(placed: Placed): void {
    if (placed === this.placed) return;
    this.placed = placed;
    this.kept(placed);
  }
}
