// Map: the whole matrix from afar, single tokens from near; queries go down, keys go right.

import { type Scale, scale, written } from "../colour/scale";
import type { State } from "../state/state";
import { nameTold, unitTold } from "../subject/weighs";
import { scaleControl } from "../ui/common";
import type { Context, Seen, View } from "../ui/context";
import { button, Choices } from "../ui/controls";
import { el } from "../ui/dom";
import { Legend } from "../ui/legend";
import { cellLines } from "./cells";
import { cleared, drawBorders, drawCross, drawNames, LEFT, type OnCanvas, TOP } from "./frame";
import { nearest, Painter } from "./painter";
import { cellSize, type Pyramid, parent, pyramid, TILE, type TileAt, tilesIn, zoomFor } from "./pyramid";
import { type Reading, Readout } from "./readout";
import { Tiles } from "./tiles";
import { Viewport } from "./viewport";

export class MapView implements View {
  readonly element: HTMLElement;
  readonly controls: readonly HTMLElement[];
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly cross = el("canvas", { "aria-hidden": "true", class: "cross" });
  private readonly field: HTMLElement;
  private readonly scaling;
  private readonly reducing;
  private readonly legend = new Legend();
  private readonly readout: Readout;
  private readonly painter = new Painter();
  private readonly viewport: Viewport;
  private readonly sizes = new ResizeObserver(() => {
    this.viewport.resized();
    this.soon();
  });
  private matrix: Pyramid = pyramid(1, 1);
  private tiles: Tiles | null = null;
  private seenTiles: TileAt[] = [];
  private colours: Scale = scale("log", 1);
  private refusal: string | null = null;
  private at: { row: number; column: number } | null = null;
  private frame = 0;

  constructor(private readonly context: Context) {
    const { store } = context;
    this.scaling = scaleControl(context);
    this.reducing = new Choices(
      "A cell shows",
      [
        { value: "max", name: "largest" },
        { value: "mean", name: "mean" },
      ],
      (value) => store.set({ reduce: value as State["reduce"] }),
    );
    this.field = el(
      "div",
      {
        class: "map-field",
        tabindex: "0",
        role: "application",
        "aria-label":
          "Attention as a map; queries from top to bottom, keys from left to right. Arrow keys move the cross, plus and minus zoom, 0 shows all, Enter chooses the query in the text.",
        onkeydown: (event: KeyboardEvent) => this.key(event),
        onmousemove: (event: MouseEvent) => this.point(event),
      },
      this.canvas,
      this.cross,
    );
    this.readout = new Readout(context, this.legend.element);
    this.controls = [this.scaling.element, this.reducing.element, ...this.zoomButtons()];
    this.element = el("div", { class: "map-view" }, this.field, this.readout.element);
    this.viewport = new Viewport(
      this.field,
      () => this.soon(),
      (map) => store.set({ map }),
    );
    this.sizes.observe(this.field);
  }

  show(state: State, before: State | null): void {
    this.scaling.show(state);
    this.reducing.set(state.reduce);
    const attention = this.context.attention();
    const ways = ["slice", "reduce", "weigh"] as const;
    const other = before?.attention !== state.attention;
    if (other || ways.some((way) => before?.[way] !== state[way])) {
      this.tiles?.close();
      this.refusal = null;
      const { slice, reduce, weigh } = state;
      const params = { attention: attention.number, slice, reduce, weigh };
      this.tiles = new Tiles(this.context.questions, params, (refusal) => {
        this.refusal = refusal ?? this.refusal;
        this.soon();
      });
    }
    if (other) {
      this.matrix = pyramid(attention.rows, attention.columns);
      this.at = null;
      this.viewport.open(this.matrix, state.map);
    } else this.viewport.show(state.map);
    this.soon();
  }

  seen(): Seen | null {
    const { state } = this.context.store;
    const attention = this.context.attention();
    const lines: (string | number)[][] = [];
    for (const at of this.seenTiles) {
      const tile = this.tiles?.get(at);
      if (tile) lines.push(...cellLines(tile, this.matrix, attention));
    }
    const head = ["query", "key", "query tokens from", "to", "key tokens from", "to", this.number(state)];
    return lines.length
      ? { name: nameTold(`map-${state.slice}`, state.weigh), table: [head, ...lines] }
      : null;
  }

  /** What a number of the table is. */
  private number({ reduce, weigh }: State): string {
    const [first] = this.seenTiles;
    const unit = first && this.tiles?.get(first)?.unit;
    return weigh === "weight" || !unit ? reduce : `${reduce}, ${unitTold(unit, weigh)}`;
  }

  close(): void {
    this.tiles?.close();
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
  }

  // ── Where one looks ──

  private zoomButtons(): HTMLElement[] {
    return [
      el(
        "div",
        { class: "control" },
        button("−", () => this.zoomBy(0.5), { "aria-label": "Zoom out" }),
        button("+", () => this.zoomBy(2), { "aria-label": "Zoom in" }),
        button("Show all", () => this.viewport.fit()),
      ),
    ];
  }

  /** Around the cross, where there is one. */
  private zoomBy(factor: number): void {
    this.viewport.zoomBy(factor, this.at ? this.viewport.onField(this.at.row, this.at.column) : undefined);
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const move = moves[event.key];
    if (move) this.step(move, event.shiftKey ? 10 : 1);
    else if (event.key === "+" || event.key === "=") this.zoomBy(2);
    else if (event.key === "-") this.zoomBy(0.5);
    else if (event.key === "0" || event.key === "Home") this.viewport.fit();
    else if (event.key === "Enter" && this.at) this.readout.goTo("from");
    else return;
    event.preventDefault();
  }

  /** Move the cross by cells; what it reaches comes into sight. */
  private step([down, right]: readonly [number, number], times: number): void {
    const { rows, columns } = this.matrix;
    const size = cellSize(this.matrix, this.zoom) * times;
    const start = this.at ?? this.viewport.at(this.viewport.middle);
    const within = (place: number, most: number): number =>
      Math.floor(Math.max(0, Math.min(most - 1, place)));
    this.at = {
      row: within(start.row + down * size, rows),
      column: within(start.column + right * size, columns),
    };
    this.viewport.reach(this.at.row, this.at.column);
    this.drawCross();
    this.context.say(this.readout.words);
  }

  private point(event: MouseEvent): void {
    const place = this.viewport.at(this.viewport.within(event));
    const [row, column] = [Math.floor(place.row), Math.floor(place.column)];
    const inside = row >= 0 && column >= 0 && row < this.matrix.rows && column < this.matrix.columns;
    if (!inside) return;
    this.at = { row, column };
    this.drawCross();
  }

  // ── What is drawn ──

  private soon(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** The zoom whose cells are as large as pixels. */
  private get zoom(): number {
    return zoomFor(this.matrix, this.viewport.transform.k);
  }

  private draw(): void {
    const { tiles, matrix, viewport } = this;
    if (!tiles || !viewport.ready) return;
    const { k, x, y } = viewport.transform;
    const theme = this.context.theme();
    this.seenTiles = tilesIn(matrix, this.zoom, viewport.inSight());
    tiles.want([{ zoom: 0, row: 0, column: 0 }, ...this.seenTiles.map((at) => had(tiles, at))]);
    const shown = [...new Set(this.seenTiles.map((at) => nearest(tiles, at)))].filter(
      (tile) => tile !== null,
    );
    const high = Math.max(0, ...shown.map((tile) => tile.high));
    this.colours = scale(this.context.store.state.scale, high);
    const context = cleared(this.canvas, this.field);
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, viewport.width, viewport.height);
    context.clip();
    this.painter.paint(
      context,
      tiles,
      this.seenTiles,
      matrix,
      { scale: k, left: x, top: y },
      this.colours,
      theme,
    );
    drawBorders(context, this.onCanvas());
    context.restore();
    drawNames(context, this.onCanvas(), getComputedStyle(this.field));
    const { weigh } = this.context.store.state;
    const size = Math.max(1, ...shown.map((tile) => cellSize(matrix, tile.at.zoom)));
    if (shown[0]) this.legend.show(this.colours, theme, unitTold(shown[0].unit, weigh), this.cell(size));
    this.drawCross();
  }

  /** What the number of a painted cell takes in. */
  private cell(size: number): string {
    return size > 1
      ? `, ${this.context.store.state.reduce === "max" ? "largest" : "mean"} of ${size} × ${size} tokens`
      : "";
  }

  private onCanvas(): OnCanvas {
    const attention = this.context.attention();
    const { transform, width, height } = this.viewport;
    const { k, x, y } = transform;
    return {
      across: { side: attention.key, scale: k, origin: x - LEFT, length: width },
      down: { side: attention.query, scale: k, origin: y - TOP, length: height },
      matrix: this.matrix,
    };
  }

  private drawCross(): void {
    const context = cleared(this.cross, this.field);
    const size = cellSize(this.matrix, this.zoom);
    if (this.at) drawCross(context, this.onCanvas(), this.at, size);
    const lacking = this.seenTiles.some((at) => this.tiles?.lacks(at));
    const refusal = lacking ? (this.refusal ?? "") : "";
    this.readout.show(this.context.attention(), this.at && this.reading(this.at), refusal);
  }

  private reading(at: { row: number; column: number }): Reading {
    for (let level = this.zoom; level >= 0; level--) {
      const size = cellSize(this.matrix, level);
      const [row, column] = [Math.floor(at.row / size), Math.floor(at.column / size)];
      const tile = this.tiles?.get({
        zoom: level,
        row: Math.floor(row / TILE),
        column: Math.floor(column / TILE),
      });
      if (!tile) continue;
      const value = tile.cells[(row % TILE) * tile.columns + (column % TILE)]!;
      return {
        row: row * size,
        column: column * size,
        size,
        value: (tile.exact ? "" : "≈ ") + written(value),
      };
    }
    return { ...at, size: 1, value: "" };
  }
}

/** The tile, or, where this source lacks it, the nearest one that it may have. */
function had(tiles: Tiles, wanted: TileAt): TileAt {
  let at = wanted;
  while (at.zoom > 0 && tiles.lacks(at)) at = parent(at);
  return at;
}
