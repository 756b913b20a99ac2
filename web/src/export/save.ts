// What is seen as a file: PNG, SVG, or its numbers as CSV.

import { picture } from "./picture";

/** Pixels of the PNG to a pixel of the page. */
const DENSE = 2;

export type Cell = string | number;

export function saveSvg(root: HTMLElement, name: string): void {
  save(svgBlob(root), `${name}.svg`);
}

export async function savePng(root: HTMLElement, name: string): Promise<void> {
  const address = URL.createObjectURL(svgBlob(root));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [DENSE * image.width, DENSE * image.height];
    const context = canvas.getContext("2d")!;
    context.scale(DENSE, DENSE);
    context.drawImage(image, 0, 0);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (blob) save(blob, `${name}.png`);
  } finally {
    URL.revokeObjectURL(address);
  }
}

export function saveCsv(table: readonly (readonly Cell[])[], name: string): void {
  save(new Blob(["\ufeff", csv(table)], { type: "text/csv" }), `${name}.csv`);
}

/** RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe before it. */
export function csv(table: readonly (readonly Cell[])[]): string {
  return table.map((line) => `${line.map(field).join(",")}\r\n`).join("");
}

function field(cell: Cell): string {
  if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A name that every system takes for a file. */
export function fileName(name: string): string {
  return `limelight-${name}`.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80);
}

function svgBlob(root: HTMLElement): Blob {
  return new Blob([new XMLSerializer().serializeToString(picture(root))], { type: "image/svg+xml" });
}

function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
