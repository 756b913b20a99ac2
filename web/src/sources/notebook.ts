// Answers through a notebook's messages (anywidget): a question with a number, an envelope with the same number.

import { type Answer, openEnvelope } from "./envelope";
import { type Params, Refusal, type Source } from "./source";

/** The part of anywidget's model that is used here. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: "msg:custom", hear: (content: Message, buffers: DataView[]) => void): void;
  off(event: "msg:custom", hear: (content: Message, buffers: DataView[]) => void): void;
}

interface Message {
  readonly type: "answer" | "error";
  readonly id: number;
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const WAIT = 350;

export class Notebook implements Source {
  readonly mode = "notebook";
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  constructor(private readonly model: WidgetModel) {
    model.on("msg:custom", this.hear);
  }

  async ask(kind: string, params: Params, signal?: AbortSignal): Promise<Answer> {
    for (;;) {
      const answer = await this.askOnce(kind, params, signal);
      if (answer.kind !== "waiting") return answer;
      await new Promise((resolve) => setTimeout(resolve, WAIT));
    }
  }

  close(): void {
    this.model.off("msg:custom", this.hear);
  }

  private askOnce(kind: string, params: Params, signal?: AbortSignal): Promise<Answer> {
    this.last += 1;
    const id = this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      signal?.addEventListener("abort", () => {
        this.waiting.delete(id);
        reject(signal.reason);
      });
      this.model.send({ type: "ask", id, kind, params });
    });
  }

  private readonly hear = (message: Message, buffers: DataView[]): void => {
    const one = this.waiting.get(message.id);
    if (!one) return;
    this.waiting.delete(message.id);
    if (message.type === "error") one.reject(new Refusal(String(message.error)));
    else one.resolve(openEnvelope(copied(buffers[0]!)));
  };
}

/** The bytes of a view as a buffer of their own, so that arrays in it are aligned. */
function copied(view: DataView | ArrayBuffer): ArrayBuffer {
  const bytes =
    view instanceof ArrayBuffer
      ? new Uint8Array(view)
      : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return bytes.slice().buffer as ArrayBuffer;
}
