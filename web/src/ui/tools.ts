// At the top right: a link to what is seen, files of it, light or dark, notes, and a text of one's own.

import { fileName, saveCsv, savePng, saveSvg } from "../export/save";
import type { About } from "../subject/about";
import type { Context, View } from "./context";
import { button } from "./controls";
import { el, fill } from "./dom";

interface ToolHost extends Context {
  readonly main: HTMLElement;
  shownView(): View | null;
}

export function tools(host: ToolHost, links: boolean, typing: HTMLElement | null): HTMLElement {
  return el(
    "div",
    { class: "tools" },
    typing,
    menu("About", aboutText(host.about)),
    menu(
      "Save",
      el(
        "div",
        { class: "choices-down" },
        button("Picture (PNG)", () => save(host, "png")),
        button("Drawing (SVG)", () => save(host, "svg")),
        button("Numbers (CSV)", () => save(host, "csv")),
        links && button("Copy the link", () => copyLink(host)),
      ),
    ),
    button("◐", () => host.store.set({ theme: host.theme() === "dark" ? "light" : "dark" }), {
      "aria-label": "Light or dark",
      title: "Light or dark",
    }),
  );
}

/** A button that opens something below it; Escape and a press elsewhere close it. */
export function menu(name: string, inside: HTMLElement): HTMLDetailsElement {
  const details: HTMLDetailsElement = el(
    "details",
    {
      class: "menu",
      onkeydown: (event: KeyboardEvent) => {
        if (event.key !== "Escape") return;
        details.open = false;
        details.querySelector("summary")?.focus();
      },
      onfocusout: (event: FocusEvent) => {
        if (event.relatedTarget instanceof Node && !details.contains(event.relatedTarget))
          details.open = false;
      },
    },
    el("summary", {}, name),
    el("div", { class: "opened" }, inside),
  );
  return details;
}

async function save(host: ToolHost, kind: "png" | "svg" | "csv"): Promise<void> {
  const seen = host.shownView()?.seen() ?? null;
  const name = fileName(seen?.name ?? host.store.state.view);
  if (kind === "svg") saveSvg(host.main, name);
  else if (kind === "png") await savePng(host.main, name);
  else if (seen) saveCsv(seen.table, name);
  host.say(kind === "csv" && !seen ? "There are no numbers to save yet." : `Saved as ${name}.${kind}`);
}

async function copyLink(host: ToolHost): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    host.say("The link is copied. It restores what is seen now.");
  } catch {
    host.say("The address above is the link; it restores what is seen now.");
  }
}

function aboutText(about: About): HTMLElement {
  const lines = [about.how, ...about.notes, ...about.attentions.map((one) => one.note), about.said].filter(
    Boolean,
  );
  const made = el("div", { class: "about" });
  fill(
    made,
    el("p", {}, el("b", {}, el("bdi", {}, about.title))),
    about.question && el("p", {}, "Question: ", el("bdi", {}, about.question)),
    about.answer && el("p", {}, "Answer: ", el("bdi", {}, about.answer)),
    ...[...new Set(lines)].map((line) => el("p", {}, line)),
    el(
      "p",
      { class: "quiet" },
      `Limelight ${about.made.limelight}, ${about.made.date.slice(0, 10)}. Attention says where a head looks; it is no account of why.`,
    ),
  );
  return made;
}
