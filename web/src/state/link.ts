// The state in the address, after "#": only what differs from the start, readable, and safe to read from strangers.

import { type Choice, LEVELS, MOST_PINS, START, type State, VIEWS, type Weigh } from "./state";

const WEIGHS: readonly Weigh[] = ["weight", "sink-free", "value-norm"];
const MOST_TRACED = 3;
const LONGEST_NAME = 80;

/** "view=map&slice=3.5&place=17" */
export function toLink(state: State, start: State = START): string {
  const said = new URLSearchParams();
  const say = (name: string, value: string | number | null, usual: string | number | null): void => {
    if (value !== usual && value !== null) said.set(name, String(value));
  };
  say("view", state.view, start.view);
  say("slice", state.slice, start.slice);
  say("weigh", state.weigh, start.weigh);
  say("attention", state.attention, start.attention);
  say("level", state.level, start.level);
  say("by", state.by, start.by);
  say("direction", state.direction, start.direction);
  say("place", state.place, null);
  say("scale", state.scale, start.scale);
  say("reduce", state.reduce, start.reduce);
  say("measure", state.measure, start.measure);
  say("rows", state.rows, start.rows);
  say("columns", state.columns, start.columns);
  say("step", state.step, start.step);
  say("stage", state.stage, start.stage);
  say("theme", state.theme, start.theme);
  if (state.trace.some((part) => part !== "")) for (const part of state.trace) said.append("trace", part);
  if (state.map)
    said.set(
      "map",
      [state.map.row, state.map.column, state.map.scale].map((n) => n.toPrecision(6)).join("_"),
    );
  for (const pin of state.pins) said.append("pin", pinText(pin));
  return said.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** The state of a link; what it does not say, or says wrongly, is as at the start. */
export function fromLink(link: string, start: State = START): State {
  const said = new URLSearchParams(link.replace(/^#/, ""));
  const one = <T extends string>(name: string, allowed: readonly T[], usual: T): T =>
    allowed.find((value) => value === said.get(name)) ?? usual;
  return {
    view: one("view", VIEWS, start.view),
    attention: whole(said.get("attention")) ?? start.attention,
    slice: sliceText(said.get("slice")) ?? start.slice,
    weigh: one("weigh", WEIGHS, start.weigh),
    level: one("level", LEVELS, start.level),
    by: one("by", LEVELS, start.by),
    direction: one("direction", ["from", "to"], start.direction),
    place: whole(said.get("place")),
    pins: said.getAll("pin").flatMap(pinFrom).slice(0, MOST_PINS),
    scale: one("scale", ["log", "linear"], start.scale),
    reduce: one("reduce", ["mean", "max"], start.reduce),
    measure: sliceText(said.get("measure")) ?? start.measure,
    map: mapFrom(said.get("map")),
    rows: one("rows", LEVELS, start.rows),
    columns: one("columns", LEVELS, start.columns),
    step: whole(said.get("step")) ?? start.step,
    trace: said
      .getAll("trace")
      .slice(0, MOST_TRACED)
      .map((part) => part.slice(0, LONGEST_NAME)),
    stage: whole(said.get("stage")) ?? start.stage,
    theme: one("theme", ["auto", "light", "dark"], start.theme),
  };
}

const pinText = (pin: Choice): string => [pin.level, pin.place, pin.direction, pin.slice].join(":");

function pinFrom(text: string): Choice[] {
  const [level, place, direction, slice] = text.split(":");
  const wanted = LEVELS.find((name) => name === level);
  const number = whole(place ?? null);
  const heads = sliceText(slice ?? null);
  if (!wanted || number === null || !heads || (direction !== "from" && direction !== "to")) return [];
  return [{ level: wanted, place: number, direction, slice: heads }];
}

const sliceText = (text: string | null): string | null =>
  text !== null && /^[\w.,* +-]{1,2000}$/.test(text) ? text : null;

const whole = (text: string | null): number | null =>
  text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;

function mapFrom(text: string | null): State["map"] {
  const parts = (text ?? "").split("_").map(Number);
  if (parts.length !== 3 || !parts.every(Number.isFinite) || parts[2]! <= 0) return null;
  return { row: parts[0]!, column: parts[1]!, scale: parts[2]! };
}
