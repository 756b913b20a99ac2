// The page asks, a source answers. Three carriers bring the same envelopes: a server, a notebook, an offline file.

import type { Answer } from "./envelope";

export type Params = Readonly<Record<string, string | number>>;

export interface Source {
  readonly mode: "served" | "notebook" | "file";
  /** Raises `Refusal` with words for people, or the signal's own error when it was aborted. */
  ask(kind: string, params: Params, signal?: AbortSignal): Promise<Answer>;
}

/** An answer that cannot be given, in words for people. */
export class Refusal extends Error {}

export const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

/** `row?attention=0&by=word&…`: names in alphabetical order. */
export function keyOf(kind: string, params: Params): string {
  const names = Object.keys(params).sort();
  return names.length === 0 ? kind : `${kind}?${names.map((name) => `${name}=${params[name]}`).join("&")}`;
}

/** Answers that were given are kept, the latest used ones; a question in flight is asked once. */
export class Remembering implements Source {
  private readonly kept = new Map<string, Promise<Answer>>();

  constructor(
    private readonly source: Source,
    private readonly most = 96,
  ) {}

  get mode(): Source["mode"] {
    return this.source.mode;
  }

  ask(kind: string, params: Params, signal?: AbortSignal): Promise<Answer> {
    const key = keyOf(kind, params);
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known.catch((error) => {
        if (!isAbort(error) || signal?.aborted) throw error;
        return this.ask(kind, params, signal); // another asker turned away, this one did not
      });
    }
    const asked = this.source.ask(kind, params, signal);
    this.kept.set(key, asked);
    asked.catch(() => this.kept.delete(key));
    if (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value!);
    return asked;
  }
}
