// The ways in which weights are told, in words for people.

import type { Weigh } from "../state/state";

export const WEIGH_NAMES: Readonly<Record<Weigh, string>> = {
  weight: "weight",
  "sink-free": "without sinks",
  "value-norm": "by value norm",
};

/** A unit that says which way it is: "probability", "probability, without sinks", "value norm". */
export const unitTold = (unit: string, weigh: Weigh): string =>
  weigh === "sink-free" ? `${unit}, ${WEIGH_NAMES[weigh]}` : unit;

/** What a file of these numbers is called. */
export const nameTold = (name: string, weigh: Weigh): string =>
  weigh === "weight" ? name : `${name}-${WEIGH_NAMES[weigh]}`;
