// JSON in the one form that both sides hash (RFC 8785): JavaScript's own numbers and strings, names in order of UTF-16.

import { createHash } from "node:crypto";

/** Returns the canonical form of `value`. Throws what is no JSON: a number that is none, a lone surrogate, a cycle. */
export function canonical(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError("a number that JSON does not have");
    return JSON.stringify(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new TypeError("text that is no Unicode");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const isPlain = typeof value === "object" && [Object.prototype, null].includes(Object.getPrototypeOf(value));
  // Of a Date or a Map, whoever is called may make something else than what is written here.
  if (!isPlain) throw new TypeError(`a ${typeof value}, which JSON does not have`);
  const entries = Object.entries(value).filter(([, held]) => held !== undefined);
  entries.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${entries.map(([name, held]) => `${canonical(name)}:${canonical(held)}`).join(",")}}`;
}

/** Returns the SHA-256 of `text` in hexadecimal. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Returns `text` as a field of bytes has it in JSON. */
export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
