// Which heads are looked at, in the words of the contract ("mean", "3", "3.5", "3.5,4.1"), and in words for people.

import type { Attention } from "./about";

/** "mean over all 144 heads", "mean over the 12 heads of layer 3", "layer 3, head 5", … */
export function sliceName(slice: string, attention: Attention): string {
  const layers = attention.layers;
  const total = layers.reduce((sum, layer) => sum + layer.heads, 0);
  if (slice === "mean") return total === 1 ? "the only head" : `mean over all ${total} heads`;
  const parts = slice.split(",");
  if (parts.length > 1) return `mean over ${severalNamed(parts)}`;
  const [layer, head] = slice.split(".");
  if (head !== undefined) return `layer ${layer}, head ${head}`;
  const heads = layers.find((one) => String(one.layer) === layer)?.heads ?? 0;
  return `mean over the ${heads} heads of layer ${layer}`;
}

function severalNamed(parts: readonly string[]): string {
  const heads = parts.filter((part) => part.includes("."));
  const whole = parts.filter((part) => !part.includes("."));
  const named = heads.length > 0 ? [`${heads.length === 1 ? "head" : "heads"} ${heads.join(", ")}`] : [];
  if (whole.length > 0)
    named.unshift(`all heads of ${whole.length === 1 ? "layer" : "layers"} ${whole.join(", ")}`);
  return named.join(" and ");
}

/** Whether a slice can be asked for. */
export function offered(slice: string, attention: Attention): boolean {
  if (attention.slices) return attention.slices.includes(slice);
  return slice === "mean" || slice.split(",").every((part) => isHead(part, attention));
}

function isHead(part: string, attention: Attention): boolean {
  const [layer, head, ...more] = part.split(".");
  const found = attention.layers.find((one) => String(one.layer) === layer);
  if (!found || more.length > 0) return false;
  return head === undefined || (/^\d+$/.test(head) && Number(head) < found.heads);
}

/** The slice with one head more or less, in the order of the layers; "mean" when none is left. */
export function toggled(slice: string, head: string): string {
  const parts = slice === "mean" ? [] : slice.split(",");
  const left = parts.includes(head) ? parts.filter((part) => part !== head) : [...parts, head];
  return left.length === 0 ? "mean" : left.sort(inOrder).join(",");
}

function inOrder(one: string, other: string): number {
  const [a, b] = [one.split(".").map(Number), other.split(".").map(Number)];
  return a[0]! - b[0]! || (a[1] ?? -1) - (b[1] ?? -1);
}
