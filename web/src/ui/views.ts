// The views, in the order of their tabs: what is called how, and who makes it.

import { DocumentsView } from "../documents/view";
import { HeadsView } from "../heads/view";
import { MapView } from "../map/view";
import { ProcessView } from "../process/view";
import type { ViewName } from "../state/state";
import { VIEWS } from "../state/state";
import { StepsView } from "../steps/view";
import type { About } from "../subject/about";
import { TextView } from "../text/view";
import type { Context, View } from "./context";

interface ViewKind {
  readonly title: string;
  /** Whether it shows any of the attentions. */
  readonly attentions: boolean;
  /** Whether it looks through one slice of the heads. */
  readonly slices: boolean;
  /** Whether it shows weights in the way that is chosen. */
  readonly weighs: boolean;
  readonly make: (context: Context) => View;
}

export const VIEW_KINDS: Readonly<Record<ViewName, ViewKind>> = {
  text: {
    title: "Text",
    attentions: true,
    slices: true,
    weighs: true,
    make: (context) => new TextView(context),
  },
  heads: {
    title: "Heads",
    attentions: true,
    slices: true,
    weighs: false,
    make: (context) => new HeadsView(context),
  },
  map: {
    title: "Map",
    attentions: true,
    slices: true,
    weighs: true,
    make: (context) => new MapView(context),
  },
  documents: {
    title: "Documents",
    attentions: true,
    slices: true,
    weighs: true,
    make: (context) => new DocumentsView(context),
  },
  steps: {
    title: "Steps",
    attentions: false,
    slices: true,
    weighs: true,
    make: (context) => new StepsView(context),
  },
  process: {
    title: "Process",
    attentions: false,
    slices: false,
    weighs: false,
    make: (context) => new ProcessView(context),
  },
};

/** The views that this subject has something to show in. */
export function viewsOf(about: About): ViewName[] {
  return VIEWS.filter((name) => {
    if (name === "steps") return about.has.steps;
    if (name === "process") return about.has.process;
    return true;
  });
}
