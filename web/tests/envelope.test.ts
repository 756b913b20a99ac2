import { expect, test } from "vitest";
import { log8Table, openEnvelope } from "../src/sources/envelope";
import { Pack } from "../src/sources/pack";
import { keyOf } from "../src/sources/source";
import { rowOutOf, strongest } from "../src/subject/rows";

interface Given {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  readonly more?: object;
}

/** What Python writes: length, head padded to 4 with spaces, arrays padded to 4. */
function envelope(head: object, arrays: readonly Given[] = []): ArrayBuffer {
  let offset = 0;
  const told = arrays.map(({ name, dtype, shape, bytes, more }) => {
    const one = { name, dtype, shape, offset, ...more };
    offset += (bytes.length + 3) & ~3;
    return one;
  });
  const json = new TextEncoder().encode(JSON.stringify({ ...head, arrays: told }));
  const length = (json.length + 3) & ~3;
  const all = new Uint8Array(4 + length + offset).fill(32, 4, 4 + length);
  new DataView(all.buffer).setUint32(0, length, true);
  all.set(json, 4);
  arrays.forEach(({ bytes }, place) => {
    all.set(bytes, 4 + length + told[place]!.offset);
  });
  return all.buffer;
}

const raw = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();

/** All lowest bytes first, then the next ones. */
function planes(values: Float32Array | Uint16Array): Uint8Array {
  const [bytes, size] = [raw(values), values.BYTES_PER_ELEMENT];
  return Uint8Array.from(
    bytes,
    (_, at) => bytes[(at % values.length) * size + Math.floor(at / values.length)]!,
  );
}

test("an envelope gives its head and its arrays", () => {
  const values = Float32Array.of(0.1, -2, Number.NaN);
  const opened = openEnvelope(
    envelope({ kind: "row", how: "sum — Σ" }, [
      { name: "odd", dtype: "uint8", shape: [3], bytes: Uint8Array.of(1, 2, 3) },
      { name: "values", dtype: "float32", shape: [3], bytes: raw(values) },
      { name: "planes", dtype: "float32", shape: [3], bytes: planes(values), more: { planes: true } },
      { name: "none", dtype: "uint32", shape: [0, 2], bytes: new Uint8Array() },
    ]),
  );
  expect(opened.kind).toBe("row");
  expect(opened.head.how).toBe("sum — Σ");
  expect([...opened.array("odd")]).toEqual([1, 2, 3]);
  expect(opened.array("values")).toEqual(values);
  expect(opened.array("planes")).toEqual(values);
  expect(opened.array("none").length).toBe(0);
  expect(opened.shape("none")).toEqual([0, 2]);
  expect(() => opened.array("other")).toThrow("other");
});

test("what is no envelope is refused", () => {
  expect(() => openEnvelope(new ArrayBuffer(3))).toThrow("shorter");
  expect(() => openEnvelope(Uint8Array.of(255, 255, 0, 0, 32).buffer)).toThrow("shorter");
});

test("codes on a logarithmic scale: 0 is 0, 1 is low, 255 is high", () => {
  const meaning = log8Table({ kind: "log8", low: 0.001, high: 10 });
  expect(meaning[0]).toBe(0);
  expect(meaning[1]).toBeCloseTo(0.001, 9);
  expect(meaning[128]).toBeCloseTo(0.1, 6);
  expect(meaning[255]).toBeCloseTo(10, 5);
});

test("a row is put together from its strongest and the rest of each stretch", () => {
  const answer = openEnvelope(
    envelope({ kind: "rows", unit: "probability", how: "", units: 2, others: 5, kept: 2 }, [
      {
        name: "place",
        dtype: "uint16",
        shape: [2, 2],
        bytes: planes(Uint16Array.of(0, 1, 3, 65535)),
        more: { planes: true },
      },
      {
        name: "value",
        dtype: "float32",
        shape: [2, 2],
        bytes: planes(Float32Array.of(9, 9, 0.5, 9)),
        more: { planes: true },
      },
      { name: "elsewhere", dtype: "float32", shape: [2], bytes: raw(Float32Array.of(9, 0.25)) },
      {
        name: "rest",
        dtype: "uint8",
        shape: [2, 2],
        bytes: Uint8Array.of(9, 9, 1, 255),
        more: { scale: { kind: "log8", low: 0.3, high: 0.8 } },
      },
      { name: "stretch", dtype: "uint32", shape: [3], bytes: raw(Uint32Array.of(0, 3, 5)) },
    ]),
  );
  const row = rowOutOf(answer, 1);
  expect([...row.exact!]).toEqual([0, 0, 0, 1, 0]);
  expect(row.values[3]).toBe(0.5);
  expect(row.values[4]).toBeCloseTo(0.8, 6);
  for (const unit of [0, 1, 2]) expect(row.values[unit]).toBeCloseTo(0.1, 6);
  expect(row.elsewhere).toBe(0.25);
  expect(strongest(row, 10)).toEqual([{ unit: 3, value: 0.5 }]);
});

test("the strongest come from high to low, of equal ones the first, none that is 0", () => {
  const row = {
    values: Float32Array.of(0, 3, 5, 3, 7, 0.5),
    exact: null,
    unit: "",
    how: "",
    elsewhere: null,
  };
  expect(strongest(row, 4).map(({ unit }) => unit)).toEqual([4, 2, 1, 3]);
  expect(strongest(row, 10).length).toBe(5);
});

test("a pack answers by key, and says what it does not hold", async () => {
  const inner = new Uint8Array(envelope({ kind: "about", title: "t" }));
  const stream = new Blob([inner]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const bytes = envelope({ kind: "pack", entries: [{ key: "about", array: "0" }] }, [
    { name: "0", dtype: "uint8", shape: [packed.length], bytes: packed },
  ]);
  const pack = new Pack(btoa(String.fromCharCode(...new Uint8Array(bytes))));
  expect((await pack.ask("about", {})).head.title).toBe("t");
  pack.said = "only the mean";
  await expect(pack.ask("row", { place: 3 })).rejects.toThrow("only the mean");
});

test("keys have their params in alphabetical order", () => {
  expect(keyOf("row", { slice: "3.5", attention: 0, by: "word" })).toBe("row?attention=0&by=word&slice=3.5");
  expect(keyOf("about", {})).toBe("about");
});
