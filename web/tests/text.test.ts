import { expect, test } from "vitest";
import { csv, fileName } from "../src/export/save";
import { checkText, ends, numberText, shapeText } from "../src/process/explanation";
import { Answer } from "../src/sources/envelope";
import { Side } from "../src/subject/side";
import { offered, sliceName, toggled } from "../src/subject/slices";
import { label, visible } from "../src/subject/visible";
import { blocksOf, toShown, toShownEnd, toSource } from "../src/text/blocks";
import { found, lowered } from "../src/text/search";
import { textOf } from "../src/ui/typing";

type Spans = readonly (readonly [number, number])[];

/** A side whose words and tokens are the spans, in one document. */
function side(text: string, words: Spans, tokens: Spans = words, specials: [number, string][] = []): Side {
  const all = {
    token: tokens,
    word: words,
    sentence: [[0, text.length]] as Spans,
    document: [[0, text.length]] as Spans,
  };
  const arrays: object[] = [];
  const numbers: number[] = [];
  for (const [level, spans] of Object.entries(all)) {
    arrays.push({
      name: `0.${level}`,
      dtype: "uint32",
      shape: [spans.length, 2],
      offset: 4 * numbers.length,
    });
    numbers.push(...spans.flat());
  }
  return new Side(
    new Answer({ arrays }, Uint32Array.from(numbers).buffer, 0),
    0,
    "text",
    text,
    ["a"],
    null,
    specials,
  );
}

test("a block shows a text as it is, and knows where each character stands", () => {
  const [block, ...more] = blocksOf(
    side("one two", [
      [0, 3],
      [4, 7],
    ]),
    false,
  );
  expect(more).toEqual([]);
  expect(block!.text).toBe("one two");
  for (let place = 0; place < 7; place++) {
    expect(toShown(block!, place)).toBe(place);
    expect(toSource(block!, place)).toBe(place);
  }
  expect(toShownEnd(block!, 7)).toBe(7);
});

test("unseen signs are written out, and spans still end where they should", () => {
  const text = "a\u202eb\u200bc";
  const [block] = blocksOf(
    side(text, [
      [0, 3],
      [4, 5],
    ]),
    false,
  );
  expect(block!.text).toBe("a⟨202E⟩b⟨200B⟩c");
  expect(block!.text.slice(toShown(block!, 0), toShownEnd(block!, 3))).toBe("a⟨202E⟩b");
  expect(block!.text.slice(toShown(block!, 1), toShownEnd(block!, 2))).toBe("⟨202E⟩");
  expect(block!.text.slice(toShown(block!, 4), toShownEnd(block!, 5))).toBe("c");
  expect(toSource(block!, 3)).toBe(1);
});

test("a very long word is shortened; what follows stands right", () => {
  const text = `a ${"x".repeat(5000)} b`;
  const [block] = blocksOf(
    side(text, [
      [0, 1],
      [2, 5002],
      [5003, 5004],
    ]),
    false,
  );
  expect(block!.text.length).toBeLessThan(300);
  expect(block!.text).toContain("[5,000 characters]");
  expect(block!.text.slice(toShown(block!, 5003), toShownEnd(block!, 5004))).toBe("b");
});

test("long texts become blocks that hold every character once", () => {
  const text = Array.from({ length: 300 }, (_, line) => `line ${line} of a text that goes on\n`).join("");
  const blocks = blocksOf(side(text, [[0, 4]]), false);
  expect(blocks.length).toBeGreaterThan(5);
  expect(blocks.map((block) => block.text).join("")).toBe(text.trimEnd());
  expect(blocks.map((block) => block.start)).toEqual([0, ...blocks.slice(0, -1).map((block) => block.end)]);
  const prose = "word ".repeat(3000);
  expect(
    Math.max(...blocksOf(side(prose, [[0, 4]]), false).map((block) => block.text.length)),
  ).toBeLessThanOrEqual(4000);
});

test("special tokens stand in the text where they are asked for", () => {
  const made = side(
    "hi",
    [[0, 2]],
    [
      [0, 0],
      [0, 2],
      [2, 2],
    ],
    [
      [0, "<s>"],
      [2, "</s>"],
    ],
  );
  const [block] = blocksOf(made, true);
  expect(block!.text).toBe(" <s> hi </s> ");
  expect(block!.specials.map(({ start, end }) => block!.text.slice(start, end))).toEqual(["<s>", "</s>"]);
  expect(block!.text.slice(toShown(block!, 0), toShownEnd(block!, 2))).toBe("hi");
  expect(blocksOf(made, false)[0]!.text).toBe("hi");
});

test("an empty text has no blocks and no units", () => {
  const made = side("", []);
  expect(blocksOf(made, true)).toEqual([]);
  expect(made.at("word", 0)).toBe(-1);
});

test("units are found by character and by letters", () => {
  const made = side("To be or not to be", [
    [0, 2],
    [3, 5],
    [6, 8],
    [9, 12],
    [13, 15],
    [16, 18],
  ]);
  expect([0, 2, 3, 17].map((character) => made.at("word", character))).toEqual([0, -1, 1, 5]);
  expect(found(made, "word", "BE")).toEqual([1, 5]);
  expect(found(made, "word", " ")).toEqual([]);
});

test("labels cannot turn the line they stand in", () => {
  expect(label("\u202eabc")).toBe("⟨202E⟩abc");
  expect(label(" a\n")).toBe("·a↵");
  expect(label("")).toBe("(empty)");
  expect(visible("e\u0301 👩\u200d👧")).toBe("e\u0301 👩\u200d👧");
});

test("a sign that has no small letter of its length hides no other from the search", () => {
  const text = "İstanbul, Save the File. ΟΔΟΣ";
  const made = side(text, [
    [0, 8],
    [10, 14],
    [15, 18],
    [19, 23],
    [25, 29],
  ]);
  expect(found(made, "word", "save")).toEqual([1]);
  expect(found(made, "word", "FILE")).toEqual([3]);
  expect(found(made, "word", "İSTANBUL")).toEqual([0]);
  expect(found(made, "word", "οδος")).toEqual([4]);
  const every = Array.from({ length: 0x20000 }, (_, code) => String.fromCodePoint(code)).join("\n");
  expect(lowered(every).length).toBe(every.length);
});

test("what is no UTF-8 is no text", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values).buffer;
  expect(textOf(new TextEncoder().encode("Größe 🙂\r\n").buffer)).toBe("Größe 🙂\r\n");
  expect(textOf(bytes(0xef, 0xbb, 0xbf, 0x41))).toBe("A");
  expect(textOf(bytes(0x47, 0x72, 0xf6, 0xdf, 0x65))).toBeNull();
  expect(textOf(bytes(0xff, 0xfe, 0x41, 0, 0x42, 0))).toBeNull();
  expect(textOf(bytes(0x41, 0, 0x42, 0))).toBeNull();
});

test("tables are RFC 4180, and no formula for a spreadsheet", () => {
  expect(
    csv([
      ["a", 'say "x", y', "=1+1"],
      [0.5, "line\nbreak", Number.NaN],
    ]),
  ).toBe('a,"say ""x"", y",\'=1+1\r\n0.5,"line\nbreak",\r\n');
  expect(fileName("../a b/ü:*")).toBe("limelight-.._a_b_ü_");
});

test("heads and layers are named for what they are", () => {
  const attention = {
    layers: [
      { layer: 0, heads: 4 },
      { layer: 2, heads: 3 },
    ],
  } as never;
  expect(sliceName("mean", attention)).toBe("mean over all 7 heads");
  expect(sliceName("2", attention)).toBe("mean over the 3 heads of layer 2");
  expect(sliceName("0.1,2.2", attention)).toBe("mean over heads 0.1, 2.2");
  expect(sliceName("0,2", attention)).toBe("mean over all heads of layers 0, 2");
  expect(sliceName("2,0.1", attention)).toBe("mean over all heads of layer 2 and head 0.1");
});

test("heads are chosen one by one, in the order of the layers", () => {
  expect(toggled("mean", "3.5")).toBe("3.5");
  expect(toggled("11.0,3.5", "3.10")).toBe("3.5,3.10,11.0");
  expect(toggled("3.5", "3.5")).toBe("mean");
  const attention = { slices: null, layers: [{ layer: 2, name: "", heads: 3 }] } as never;
  expect(["mean", "2", "2.2", "2.0,2.1"].every((slice) => offered(slice, attention))).toBe(true);
  expect(["3", "2.3", "2.x", "", "2.0,"].some((slice) => offered(slice, attention))).toBe(false);
});

test("stages are told in the terminal's words", () => {
  expect(shapeText("q_BHND", [1, 4, 9, 16])).toBe("q: B 1 · H 4 · N 9 · D 16");
  expect(shapeText("scores", [1, 9, 6000])).toBe("scores: 1 × 9 × 6000");
  expect(checkText({ compared: "all", difference: 3.1e-7, tolerance: 2e-5, ok: true })).toBe(
    "all: 3.1e-7 (allowed: 2e-5)",
  );
  expect([null, 3, 0.12345, 1e-9, 123456.7].map(numberText)).toEqual([
    "–",
    "3",
    "0.1235",
    "1.00e-9",
    "123457",
  ]);
  const figure = { rows: Array.from({ length: 50 }, String), marked: [20] } as never;
  expect(ends(figure, 2, 3).map(({ row, hidden }) => (row < 0 ? -hidden : row))).toEqual([
    0, 1, -18, 20, -26, 47, 48, 49,
  ]);
});
