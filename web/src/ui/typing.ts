// Served only: a text can be typed in, and files dropped; the server reads them and the page starts anew with them.

import type { Served } from "../sources/served";
import { Refusal } from "../sources/source";
import type { About } from "../subject/about";
import { button } from "./controls";
import { el, fill } from "./dom";
import { menu } from "./tools";

interface Given {
  readonly name: string;
  readonly text: string;
}

/** The text of a file, null where it is none: other bytes than UTF-8, or NUL. Nothing is replaced silently. */
export function textOf(bytes: ArrayBuffer): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

export function typing(
  about: About,
  server: Served,
  begun: (subject: string) => void,
  root: HTMLElement,
): HTMLElement {
  const text = el("textarea", {
    rows: 7,
    "aria-label": "Text",
    placeholder: "A text, or drop files anywhere on the page",
  });
  const question = el("input", {
    type: "text",
    "aria-label": "Question",
    placeholder: "Question (optional)",
  });
  const files = el("input", {
    type: "file",
    multiple: true,
    accept: "text/*,.md,.txt",
    "aria-label": "Files",
  });
  const told = el("p", { class: "quiet", role: "status" });
  const dropped: Given[] = [];

  const take = async (list: FileList | null): Promise<void> => {
    const { files: most, text_bytes: bytes } = about.limits;
    const refused: string[] = [];
    for (const file of list ?? [])
      if (file.size > bytes) refused.push(`${file.name} is larger than ${bytes} bytes.`);
      else if (dropped.length >= most) refused.push(`${file.name} is one too many: ${most} files are read.`);
      else {
        const text = textOf(await file.arrayBuffer());
        if (text === null) refused.push(`${file.name} is no text in UTF-8: convert it first.`);
        else dropped.push({ name: file.name, text });
      }
    fill(told, [dropped.map(({ name }) => name).join(", "), ...refused].filter(Boolean).join(" "));
    back.hidden = dropped.length === 0;
  };
  const back = button("Take the files back", () => {
    dropped.length = 0;
    files.value = "";
    back.hidden = true;
    fill(told);
  });
  back.hidden = true;
  const read = async (): Promise<void> => {
    const typed = text.value.trim() ? [{ name: "text", text: text.value }] : [];
    const documents = [...dropped, ...typed];
    if (documents.length === 0) return fill(told, "There is no text yet.");
    fill(told, "Reading …");
    try {
      begun(await server.read(documents, question.value.trim() || null));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      fill(told, error.message);
    }
  };
  files.addEventListener("change", () => void take(files.files));
  const form = el(
    "div",
    { class: "typing" },
    text,
    question,
    files,
    told,
    back,
    button("Read it", () => void read()),
  );
  const made = menu("Your text", form);
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    made.open = true;
    void take(event.dataTransfer?.files ?? null);
  });
  return made;
}
