// Answers from the file itself: a pack of envelopes made beforehand, each deflated, together base64 in the page.

import { type Answer, openEnvelope } from "./envelope";
import { keyOf, type Params, Refusal, type Source } from "./source";

export const PACK = "limelight-pack";

export class Pack implements Source {
  readonly mode = "file";
  private readonly pack: Answer;
  private readonly places: ReadonlyMap<string, string>;

  /** What the file does not hold, and the command that makes one that does. */
  said = "This file does not hold that answer.";

  constructor(base64: string) {
    this.pack = openEnvelope(decoded(base64));
    const entries = this.pack.head.entries as { key: string; array: string }[];
    this.places = new Map(entries.map(({ key, array }) => [key, array]));
  }

  holds(kind: string, params: Params): boolean {
    return this.places.has(keyOf(kind, params));
  }

  async ask(kind: string, params: Params): Promise<Answer> {
    const place = this.places.get(keyOf(kind, params));
    if (place === undefined) throw new Refusal(this.said);
    return openEnvelope(await inflated(this.pack.array<Uint8Array>(place)));
  }
}

function decoded(base64: string): ArrayBuffer {
  const letters = atob(base64.trim());
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
  return bytes.buffer;
}

function inflated(bytes: Uint8Array): Promise<ArrayBuffer> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}
