// The page as a whole: title, the six views and their controls, links, theme; what is chosen lives in the store.

import type { Theme } from "../colour/ramp";
import type { Served } from "../sources/served";
import { fromLink, toLink } from "../state/link";
import { type State, Store, type ViewName } from "../state/state";
import { type About, type Attention, startOf } from "../subject/about";
import type { Questions } from "../subject/questions";
import { offered } from "../subject/slices";
import { attentionControl, type Control, sliceControl, weighControl } from "./common";
import type { Context, View } from "./context";
import { button } from "./controls";
import { el, fill } from "./dom";
import { tools } from "./tools";
import { typing } from "./typing";
import { VIEW_KINDS, viewsOf } from "./views";

/** Milliseconds after the last change until the address holds it: browsers refuse changes that come too fast. */
const LINK_AFTER = 100;

export interface Frame {
  readonly root: HTMLElement;
  /** Whether the address may hold the state: not in a notebook, whose address it is. */
  readonly links: boolean;
  /** The server that the page came from, where it came from one. */
  readonly server?: Served;
}

export class App implements Context {
  readonly store: Store;
  private view: View | null = null;
  private shown: ViewName | null = null;
  private readonly bar = el("div", { class: "bar", role: "toolbar", "aria-label": "Controls" });
  readonly main = el("main", {});
  private readonly status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  private readonly tabs = new Map<ViewName, HTMLButtonElement>();
  private readonly attentions: Control;
  private readonly slices: Control;
  private readonly weighing: Control;
  private readonly dark = matchMedia("(prefers-color-scheme: dark)");
  private readonly ends: (() => void)[] = [];
  private linking: ReturnType<typeof setTimeout> | undefined;
  /** While the page goes where the address says: the browser's history has that step already. */
  private following = false;

  constructor(
    private readonly frame: Frame,
    readonly about: About,
    readonly questions: Questions,
  ) {
    this.store = new Store(this.allowed(frame.links ? this.linked() : startOf(about)));
    this.attentions = attentionControl(this);
    this.slices = sliceControl(this);
    this.weighing = weighControl(this);
    fill(frame.root, this.header(), this.bar, this.main, this.status);
    this.listen();
    this.show(this.store.state, null);
  }

  attention(): Attention {
    return this.about.attentions[this.store.state.attention]!;
  }

  theme(): Theme {
    const { theme } = this.store.state;
    return theme === "auto" ? (this.dark.matches ? "dark" : "light") : theme;
  }

  say(words: string): void {
    fill(this.status, words);
  }

  shownView(): View | null {
    return this.view;
  }

  /** The whole matrix is being read for the first time: how far, and what. */
  progress(done: number | null, what: string): void {
    if (done === null) return this.say("");
    fill(
      this.status,
      el("progress", { max: 1, value: done, "aria-label": "Reading" }),
      ` Reading the whole matrix: ${what}`,
    );
  }

  close(): void {
    this.view?.close();
    for (const end of this.ends) end();
  }

  // ── The parts ──

  private header(): HTMLElement {
    const { about } = this;
    const tabs = viewsOf(about).map((name) => {
      const tab = button(VIEW_KINDS[name].title, () => this.store.set({ view: name }));
      this.tabs.set(name, tab);
      return tab;
    });
    return el(
      "header",
      { class: "top" },
      el(
        "div",
        { class: "title" },
        el("p", { class: "brand" }, "Limelight"),
        el("h1", {}, el("bdi", {}, about.title)),
        el("p", { class: "quiet" }, el("bdi", {}, about.model)),
      ),
      el("nav", { "aria-label": "Views" }, ...tabs),
      tools(this, this.frame.links, this.typing()),
    );
  }

  /** Where a server can read a text that is typed in. */
  private typing(): HTMLElement | null {
    const { server, root } = this.frame;
    if (!server || !this.about.has.read) return null;
    return typing(
      this.about,
      server,
      (subject) => location.assign(`?subject=${encodeURIComponent(subject)}`),
      root,
    );
  }

  private listen(): void {
    this.store.listen((state, before) => this.show(state, before));
    const theme = (): void => this.show(this.store.state, this.store.state);
    this.dark.addEventListener("change", theme);
    this.ends.push(() => this.dark.removeEventListener("change", theme));
    const key = (event: KeyboardEvent): void => this.key(event);
    const heard = this.frame.links ? document : this.frame.root; // in a notebook others have keys of their own
    heard.addEventListener("keydown", key as EventListener);
    this.ends.push(() => heard.removeEventListener("keydown", key as EventListener));
    if (!this.frame.links) return;
    const link = (): void => {
      const state = this.allowed(this.linked());
      if (this.linkTo(state) === this.linkTo(this.store.state)) return;
      this.following = true;
      this.store.set(state);
      this.following = false;
    };
    window.addEventListener("hashchange", link);
    this.ends.push(() => window.removeEventListener("hashchange", link));
  }

  private key(event: KeyboardEvent): void {
    const inField = (event.target as Element).matches("input, select, textarea");
    if (event.key !== "/" || inField || !this.view?.focusSearch) return;
    event.preventDefault();
    this.view.focusSearch();
  }

  // ── Showing a state ──

  private show(state: State, before: State | null): void {
    const { root } = this.frame;
    root.dataset.theme = this.theme();
    for (const [name, tab] of this.tabs) {
      if (name === state.view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    for (const control of [this.attentions, this.slices, this.weighing]) control.show(state);
    if (this.frame.links) this.link(state, before);
    if (this.shown === state.view && this.view) return this.view.show(state, before);
    this.view?.close();
    this.say("");
    this.view = VIEW_KINDS[state.view].make(this);
    this.shown = state.view;
    const { attentions, slices, weighs } = VIEW_KINDS[state.view];
    const shared = [
      ...(attentions && this.about.attentions.length > 1 ? [this.attentions] : []),
      ...(slices ? [this.slices] : []),
      ...(weighs ? [this.weighing] : []),
    ];
    fill(this.bar, ...shared.map((control) => control.element), ...this.view.controls);
    fill(this.main, this.view.element);
    this.main.dataset.view = state.view;
    this.view.show(state, null);
  }

  /** Another view is a step in the browser's history; everything else changes the step that one stands on. */
  private link(state: State, before: State | null): void {
    clearTimeout(this.linking);
    const write = (way: "pushState" | "replaceState", wanted: State): void => {
      const link = this.linkTo(wanted);
      if (link === (location.hash || "#")) return;
      history[way](null, "", link === "#" ? location.pathname + location.search : link);
    };
    if (before && before.view !== state.view && !this.following) {
      write("replaceState", before); // what may not have been written yet: the way back leads there
      write("pushState", state);
    } else this.linking = setTimeout(() => write("replaceState", state), LINK_AFTER);
  }

  private linkTo(state: State): string {
    return `#${toLink(state, startOf(this.about, state.attention))}`;
  }

  private linked(): State {
    const { attention } = fromLink(location.hash);
    return fromLink(location.hash, startOf(this.about, attention));
  }

  /** A link from elsewhere, with what this page does not have put right. */
  private allowed(state: State): State {
    const { attentions } = this.about;
    const attention = Math.min(state.attention, Math.max(0, attentions.length - 1));
    const one = attentions[attention];
    const slice = one && !offered(state.slice, one) ? one.slice : state.slice;
    const weigh = one?.weighs.includes(state.weigh) ? state.weigh : "weight";
    const views = viewsOf(this.about);
    const view = views.includes(state.view) ? state.view : views[0]!;
    return { ...state, attention, slice, weigh, view };
  }
}
