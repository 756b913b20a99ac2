// An envelope: one answer as it travels. The words of the contract: limelight/viewer/PROTOCOL.md.

export type Numbers = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** Codes of a uint8 array on a logarithmic scale: code 0 is 0, code c is low · (high/low)^((c−1)/254). */
export interface Log8 {
  readonly kind: "log8";
  readonly low: number;
  readonly high: number;
}

interface ArrayHead {
  readonly name: string;
  readonly dtype: keyof typeof KINDS;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly planes?: boolean;
  readonly scale?: Log8;
}

const KINDS = {
  float32: Float32Array,
  int32: Int32Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
} as const;

/** What a source says to one question: a head of plain values, and named arrays that are views into its bytes. */
export class Answer {
  private readonly heads: ReadonlyMap<string, ArrayHead>;
  private readonly opened = new Map<string, Numbers>();

  constructor(
    readonly head: Readonly<Record<string, unknown>>,
    private readonly bytes: ArrayBuffer,
    private readonly start: number,
  ) {
    this.heads = new Map(((head.arrays ?? []) as ArrayHead[]).map((array) => [array.name, array]));
  }

  get kind(): string {
    return String(this.head.kind);
  }

  has(name: string): boolean {
    return this.heads.has(name);
  }

  shape(name: string): readonly number[] {
    return this.headOf(name).shape;
  }

  scale(name: string): Log8 | null {
    return this.headOf(name).scale ?? null;
  }

  /** The entries as they stand; of a log8 array the codes. */
  array<T extends Numbers = Numbers>(name: string): T {
    const known = this.opened.get(name);
    if (known) return known as T;
    const { dtype, shape, offset, planes } = this.headOf(name);
    const Kind = KINDS[dtype];
    if (!Kind) throw new Error(`The array "${name}" has the unknown type ${dtype}.`);
    const count = shape.reduce((product, size) => product * size, 1);
    const values = planes
      ? new Kind(
          joinedPlanes(
            new Uint8Array(this.bytes, this.start + offset, count * Kind.BYTES_PER_ELEMENT),
            count,
          ),
        )
      : new Kind(this.bytes, this.start + offset, count);
    this.opened.set(name, values);
    return values as T;
  }

  /** The numbers an array stands for: of a log8 array what its codes mean. */
  numbers(name: string): Float32Array {
    const scale = this.scale(name);
    const array = this.array(name);
    if (!scale) return array as Float32Array;
    const meaning = log8Table(scale);
    return Float32Array.from(array, (code) => meaning[code]!);
  }

  private headOf(name: string): ArrayHead {
    const found = this.heads.get(name);
    if (!found) throw new Error(`The answer "${this.kind}" holds no array "${name}".`);
    return found;
  }
}

export function openEnvelope(bytes: ArrayBuffer): Answer {
  const length = bytes.byteLength < 4 ? Number.NaN : new DataView(bytes).getUint32(0, true);
  if (!(4 + length <= bytes.byteLength)) throw new Error("An envelope that is shorter than it says.");
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  return new Answer(head, bytes, 4 + length);
}

/** What each of the 256 codes means. */
export function log8Table({ low, high }: Log8): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) =>
    code === 0 ? 0 : low * (high / low) ** ((code - 1) / 254),
  );
}

/** Bytes that stand as planes (all lowest ones first), put together entry by entry. */
function joinedPlanes(planes: Uint8Array, count: number): ArrayBuffer {
  const size = count === 0 ? 0 : planes.length / count;
  const joined = new Uint8Array(planes.length);
  for (let plane = 0; plane < size; plane++)
    for (let place = 0; place < count; place++) joined[place * size + plane] = planes[plane * count + place]!;
  return joined.buffer;
}
