import { expect, test } from "vitest";
import { fromLink, toLink } from "../src/state/link";
import { START, type State } from "../src/state/state";

const state: State = {
  view: "map",
  attention: 2,
  slice: "3.5,11.7",
  weigh: "value-norm",
  level: "sentence",
  by: "document",
  direction: "to",
  place: 8191,
  pins: [{ level: "word", place: 13, direction: "from", slice: "mean" }],
  scale: "linear",
  reduce: "max",
  measure: "entropy",
  map: { row: 17.5, column: 4099.25, scale: 0.125 },
  rows: "sentence",
  columns: "word",
  step: 5,
  trace: ["▁document", "", "3"],
  stage: 7,
  theme: "dark",
};

test("a link restores every part of the state", () => {
  for (const part of Object.keys(START) as (keyof State)[])
    expect(state[part], part).not.toEqual(START[part]);
  expect(fromLink(toLink(state))).toEqual(state);
});

test("the start needs no words", () => {
  expect(toLink(START)).toBe("");
  expect(fromLink("")).toEqual(START);
});

test("strangers' links cannot say what the page does not know", () => {
  const hostile =
    "#view=<img>&place=-1&slice=%3Cscript%3E&map=1_2_NaN&pin=word:1e99:from:mean&theme=__proto__&level=token";
  expect(fromLink(hostile)).toEqual({ ...START, level: "token" });
});
