// The project's one ramp of colours (limelight/readings/render/colours.py): equal steps of lightness, no red against green.

const RAMP = [
  "#ffffff",
  "#c9eeba",
  "#75dd9e",
  "#0fc2a0",
  "#0d9f9c",
  "#097e8f",
  "#015e7f",
  "#003f6f",
  "#1a2444",
];
const DARK_PAPER = "#171a21";

/** Orange-red, far from the ramp in hue for every kind of colour vision: what is chosen. */
export const MARK = "#e4572e";

export type Theme = "light" | "dark";
export type Rgb = readonly [number, number, number];

/** Steps of the tables below: colour number 0 is the lowest, 255 the highest. */
export const STEPS = 256;

/** From low to high. On dark paper the ramp runs from its other end, so that "low" is always the paper. */
export function anchors(theme: Theme): readonly string[] {
  return theme === "light" ? RAMP : [DARK_PAPER, ...RAMP.slice(0, -1).reverse().slice(0, -1), "#f2fbee"];
}

const tables = new Map<Theme, Uint8ClampedArray>();

/** 256 × RGB, red of colour n at 3n. */
export function table(theme: Theme): Uint8ClampedArray {
  let made = tables.get(theme);
  if (!made) {
    made = interpolated(anchors(theme).map(rgb));
    tables.set(theme, made);
  }
  return made;
}

export function colour(theme: Theme, share: number): string {
  const [red, green, blue] = colourRgb(theme, share);
  return `rgb(${red} ${green} ${blue})`;
}

export function colourRgb(theme: Theme, share: number): Rgb {
  const at = 3 * step(share);
  const made = table(theme);
  return [made[at]!, made[at + 1]!, made[at + 2]!];
}

/** The number of the colour for a share between 0 and 1. */
export const step = (share: number): number => Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1));

/** What text on a colour is written in: the page's ink, or pure black or white where ink would be hard to read. */
export type Letters = "ink" | "black" | "white";

/** Contrast that text needs (WCAG 2.2, level AA). */
const ENOUGH = 4.5;
const INK: Readonly<Record<Theme, Rgb>> = { light: rgb("#1f2430"), dark: rgb("#e6e8ec") };
const lettersOf = new Map<Theme, readonly Letters[]>();

export function letters(theme: Theme, share: number): Letters {
  let made = lettersOf.get(theme);
  if (!made) {
    made = Array.from({ length: STEPS }, (_, number) =>
      readable(colourRgb(theme, number / (STEPS - 1)), INK[theme]),
    );
    lettersOf.set(theme, made);
  }
  return made[step(share)]!;
}

function readable(on: Rgb, ink: Rgb): Letters {
  if (contrast(on, ink) >= ENOUGH) return "ink";
  return contrast(on, [0, 0, 0]) >= contrast(on, [255, 255, 255]) ? "black" : "white";
}

/** Contrast of two colours, 1 to 21 (WCAG 2.2, "contrast ratio"). */
export function contrast(one: Rgb, other: Rgb): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function rgb(hex: string): Rgb {
  const number = Number.parseInt(hex.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function interpolated(stops: readonly Rgb[]): Uint8ClampedArray {
  const made = new Uint8ClampedArray(3 * STEPS);
  for (let number = 0; number < STEPS; number++) {
    const place = (number / (STEPS - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let part = 0; part < 3; part++) {
      made[3 * number + part] =
        stops[low]![part]! + (place - low) * (stops[low + 1]![part]! - stops[low]![part]!);
    }
  }
  return made;
}
