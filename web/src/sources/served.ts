// Answers from `limelight serve`: the same origin that the page came from.

import { type Answer, openEnvelope } from "./envelope";
import { isAbort, type Params, Refusal, type Source } from "./source";

const WAIT = 350;
const MOST_TRIES = 8;

export class Served implements Source {
  readonly mode = "served" as const;

  /** Which of the texts that were typed in; empty for the first. */
  subject = "";

  /** Hears how far the first reading of the whole matrix has come, 0 to 1; null: nothing is waited for. */
  onProgress: (done: number | null, what: string) => void = () => {};

  async ask(kind: string, params: Params, signal?: AbortSignal): Promise<Answer> {
    for (let tries = 0; ; ) {
      const response = await fetched(this.address(kind, params), { signal: signal ?? null });
      if (response.status === 503 && tries < MOST_TRIES) {
        tries += 1;
        await pause(1000 * Number(response.headers.get("Retry-After") ?? 1), signal);
      } else if (response.status === 202) {
        await this.wait(signal);
      } else if (!response.ok) {
        throw new Refusal(await message(response));
      } else {
        return openEnvelope(await response.arrayBuffer());
      }
    }
  }

  /** Read a text that was typed in or dropped; from then on it is the one asked about. */
  async read(documents: readonly { name: string; text: string }[], question: string | null): Promise<string> {
    const response = await fetched(new URL("read", document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ documents, question }),
    });
    if (!response.ok) throw new Refusal(await message(response));
    this.subject = ((await response.json()) as { subject: string }).subject;
    return this.subject;
  }

  private address(kind: string, params: Params): URL {
    const address = new URL(`ask/${kind}`, document.baseURI);
    for (const [name, value] of Object.entries(params)) address.searchParams.set(name, String(value));
    if (this.subject) address.searchParams.set("subject", this.subject);
    return address;
  }

  private async wait(signal?: AbortSignal): Promise<void> {
    const response = await fetched(this.address("progress", {}), { signal: signal ?? null });
    if (!response.ok) throw new Refusal(await message(response));
    const { head } = openEnvelope(await response.arrayBuffer());
    if (head.state === "failed") throw new Refusal(String(head.error));
    this.onProgress(head.state === "ready" ? null : Number(head.done), String(head.what));
    if (head.state !== "ready") await pause(WAIT, signal);
  }
}

async function fetched(address: URL, options: RequestInit): Promise<Response> {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Refusal("The server does not answer. Is it still running?");
  }
}

async function message(response: Response): Promise<string> {
  try {
    return String(((await response.json()) as { error: unknown }).error);
  } catch {
    return `The server answered ${response.status}.`;
  }
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
