import { expect, test } from "vitest";
import { colourRgb, contrast, letters, type Rgb, STEPS, type Theme, table } from "../src/colour/ramp";
import { brief, DECADES, scale, scaleOf, written } from "../src/colour/scale";

const THEMES: readonly Theme[] = ["light", "dark"];
const LETTERS: Record<Theme, Record<string, Rgb>> = {
  light: { ink: [31, 36, 48], black: [0, 0, 0], white: [255, 255, 255] },
  dark: { ink: [230, 232, 236], black: [0, 0, 0], white: [255, 255, 255] },
};

test("the ramp goes one way: from the paper to the far end, in light and in dark", () => {
  for (const theme of THEMES) {
    const paper = colourRgb(theme, 0);
    let last = 1;
    for (let number = 1; number < STEPS; number++) {
      const found = contrast(colourRgb(theme, number / (STEPS - 1)), paper);
      expect(found).toBeGreaterThanOrEqual(last - 0.02);
      last = found;
    }
    expect(last).toBeGreaterThan(12);
    expect(table(theme).length).toBe(3 * STEPS);
  }
});

test("letters can be read on every colour of the ramp", () => {
  for (const theme of THEMES)
    for (let number = 0; number < STEPS; number++) {
      const share = number / (STEPS - 1);
      expect(contrast(colourRgb(theme, share), LETTERS[theme][letters(theme, share)]!)).toBeGreaterThan(4.5);
    }
});

test("contrast is that of WCAG", () => {
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 9);
  expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2);
});

test("a scale takes values to shares and back", () => {
  for (const kind of ["log", "linear"] as const) {
    const made = scale(kind, 0.37);
    expect(made.share(0)).toBe(0);
    expect(made.share(0.37)).toBe(1);
    expect(made.share(5)).toBe(1);
    expect(made.share(Number.NaN)).toBe(0);
    for (const share of [0.25, 0.5, 0.9]) expect(made.share(made.value(share))).toBeCloseTo(share, 9);
  }
  expect(scale("log", 1).share(10 ** -DECADES)).toBeCloseTo(0, 9);
  expect(scale("linear", 0).share(0)).toBe(0);
  expect(scaleOf("log", [0, 0.02, 0.5, 1]).share(0.02)).toBeCloseTo(0, 9);
  expect(scaleOf("log", [0.9, 1]).share(0.1)).toBeCloseTo(0, 9);
  expect(scaleOf("log", []).share(0)).toBe(0);
});

test("numbers are written with four digits, and never as a nought that is none", () => {
  expect([0, 0.123456, 1e-7, 1234567, 12.5].map(written)).toEqual([
    "0",
    "0.1235",
    "1.00e-7",
    "1\u202f234\u202f567",
    "12.5",
  ]);
});

test("a number under a legend is short: nothing is written with many zeros, and none with a bare exponent", () => {
  const said = [0, 1, 0.25, 0.0087, 0.001, 0.00099999999, 0.00063, 0.00002].map(brief);
  expect(said).toEqual(["0", "1", "0.25", "0.0087", "0.001", "0.001", "6.3e-4", "2e-5"]);
});
