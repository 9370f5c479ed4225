/**
 * From a text to 64 bits that nobody can foresee who does not know the seed.
 *
 * HalfSipHash-2-4 with 64 bits of key and of result (Jean-Philippe Aumasson, Daniel J. Bernstein and others; the relative of
 * SipHash for machines of 32 bits, github.com/veorq/SipHash, CC0). Not MurmurHash3, which chooses endpoints: there are texts that
 * meet under every seed of it, and who sends them could crowd the place of another caller. Here callers choose the texts, and
 * what they meet is each other's limits. It needs no module of Node, and all of it is in 32 bits.
 *
 * Each character counts as one byte, as in the fields of a request.
 */

/** 64 bits, as two numbers of 32 with sign. */
export class KeyedHash {
  /** The last result. */
  low = 0;
  high = 0;
  readonly #key0: number;
  readonly #key1: number;
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;

  /** @param key0 32 bits of the seed, as the other */
  constructor(key0: number, key1: number) {
    this.#key0 = key0 | 0;
    this.#key1 = key1 | 0;
  }

  /** Leaves the hash of a text in `low` and `high`: nothing is made for it. */
  of(text: string): void {
    this.#v0 = this.#key0;
    this.#v1 = this.#key1 ^ 0xee;
    this.#v2 = 0x6c796765 ^ this.#key0;
    this.#v3 = 0x74656462 ^ this.#key1;
    const { length } = text;
    const whole = length & ~3;
    for (let i = 0; i < whole; i += 4) this.#take(word(text, i, 4));
    this.#take(word(text, whole, length - whole) | (length << 24));
    this.#v2 ^= 0xee;
    this.#rounds(4);
    this.low = this.#v1 ^ this.#v3;
    this.#v1 ^= 0xdd;
    this.#rounds(4);
    this.high = this.#v1 ^ this.#v3;
  }

  #take(block: number): void {
    this.#v3 ^= block;
    this.#rounds(2);
    this.#v0 ^= block;
  }

  #rounds(count: number): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    for (let round = 0; round < count; round++) {
      v0 = (v0 + v1) | 0;
      v1 = rotated(v1, 5) ^ v0;
      v0 = rotated(v0, 16);
      v2 = (v2 + v3) | 0;
      v3 = rotated(v3, 8) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = rotated(v3, 7) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = rotated(v1, 13) ^ v2;
      v2 = rotated(v2, 16);
    }
    this.#v0 = v0;
    this.#v1 = v1;
    this.#v2 = v2;
    this.#v3 = v3;
  }
}

function rotated(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** Up to four characters as one little-endian number. */
function word(text: string, from: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value |= (text.charCodeAt(from + i) & 0xff) << (8 * i);
  return value;
}
