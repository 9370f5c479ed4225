/**
 * Request ids that cost a string: a UUID whose first 74 bits are drawn once per process and whose last 48 count up.
 *
 * Not a random UUID for each request: its bytes and its letters were a fiftieth of a request's time. An id must be
 * unique, which a counter behind a random prefix is; that it can be guessed harms nobody, since nothing is granted for
 * knowing it. The layout is version 8 of RFC 9562 (5.8), the one for such purposes.
 */

/** 12 of the counter's bits, as letters. */
const LOW = Array.from({ length: 4096 }, (_, n) => n.toString(16).padStart(3, "0"));
const HIGH_VALUES = 2 ** 36;

/** @param seed 16 random bytes */
export function requestIds(seed: Uint8Array): () => string {
  const hex = Buffer.from(seed).toString("hex");
  const variant = ((seed[8]! & 0x3f) | 0x80).toString(16);
  const process = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-`;
  let high = Number.parseInt(hex.slice(20, 29), 16);
  let low = 0;
  let prefix = "";
  const turnHigh = () => {
    high = (high + 1) % HIGH_VALUES;
    prefix = process + high.toString(16).padStart(9, "0");
  };
  turnHigh();
  return () => {
    const id = prefix + LOW[low]!;
    low = (low + 1) % LOW.length;
    if (low === 0) turnHigh();
    return id;
  };
}
