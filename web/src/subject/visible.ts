// Text as it may be shown: what would move other text, or cannot be seen at all, is written out.

/** Controls and format signs (direction, zero width, tags); those that letters need for their form stay. */
export const UNSEEN = /(?![\n\t\r\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Longer words are cut in the middle; their length is told. */
export const LONGEST_WORD = 160;

/** The text with every unseen sign as its number, so that no text moves what stands around it. */
export function visible(text: string): string {
  return text.replace(
    UNSEEN,
    (sign) => `⟨${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

/** A word or token that stands alone: on a label, in a list. Its spaces are shown. */
export function label(text: string, longest = 24): string {
  if (text === "") return "(empty)";
  const cut = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  return visible(cut)
    .replaceAll("\n", "↵")
    .replaceAll("\t", "⇥")
    .replace(/^ +| +$/g, (run) => "·".repeat(run.length));
}

export function shortened(word: string, longest = LONGEST_WORD): string {
  if (word.length <= longest) return visible(word);
  const half = longest / 2;
  return `${visible(word.slice(0, half))}…${visible(word.slice(-half / 2))} [${word.length.toLocaleString("en-US")} characters]`;
}
