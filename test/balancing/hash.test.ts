import fc from "fast-check";
import { test } from "tap";
import { hash32, mix32 } from "../../balancing/hash.ts";
import { orderByHash, whole } from "../../balancing/hash-order.ts";
import { below } from "../../core/index.ts";
import { seededRandom } from "../support/seeded-random.ts";

/** MurmurHash3_x86_32 as its author wrote it, byte by byte. */
function murmur3(bytes: Uint8Array, seed: number): number {
  const rotated = (value: number, by: number) => (value << by) | (value >>> (32 - by));
  const scrambled = (k: number) => Math.imul(rotated(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  const tail = bytes.length & ~3;
  let h = seed;
  for (let i = 0; i < tail; i += 4) {
    const k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    h = (Math.imul(rotated(h ^ scrambled(k), 13), 5) + 0xe6546b64) | 0;
  }
  let k = 0;
  for (let i = bytes.length - 1; i >= tail; i--) k = (k << 8) | bytes[i]!;
  h ^= scrambled(k) ^ bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

test("hash32 gives the published values of MurmurHash3_x86_32", async (t) => {
  const vectors: [text: string, seed: number, hash: number][] = [
    ["", 0, 0],
    ["", 1, 0x514e28b7],
    ["", 0xffffffff, 0x81f16f39],
    ["\uffff\uffff", 0, 0x76293b50],
    ["\u4321\u8765", 0, 0xf55b516b],
    ["\u4321\u8765", 0x5082edee, 0x2362f9de],
    ["\u4321", 0, 0xa0f7b07a],
    ["\0\0", 0, 0x2362f9de],
    ["\0", 0, 0x30f4c306],
  ];
  for (const [text, seed, hash] of vectors) t.equal(hash32(text, seed), hash, JSON.stringify(text));
  t.equal(mix32(0, 0x87654321), 0xf55b516b);
  t.equal(mix32(0x5082edee, 0x87654321), 0x2362f9de);
});

test("hash32 has the same values for ever: sidecars of two releases must agree", async (t) => {
  t.same(
    ["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:443", "user=42", "ключ"].map((text) => hash32(text)),
    [0x7f34551f, 0xb3adfe24, 0xdcec5664, 0x52ef6685, 0xe25f0114],
  );
});

test("hash32 and mix32 are what the author's algorithm gives for the bytes of UTF-16", async () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  fc.assert(
    fc.property(text, fc.nat(0xffffffff), (of, seed) => hash32(of, seed) === murmur3(utf16(of), seed)),
  );
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.nat(0xffffffff), (seed, value) => {
      const bytes = new Uint8Array(Uint32Array.of(value).buffer);
      return mix32(seed, value) === murmur3(bytes, seed);
    }),
  );
});

function utf16(text: string): Uint8Array {
  return new Uint8Array(Uint16Array.from(text.split(""), (unit) => unit.charCodeAt(0)).buffer);
}

test("a changed bit changes every bit of the hash in about half of all cases, as does a changed seed", async (t) => {
  const random = seededRandom(5);
  const rounds = 4000;
  const flips = { text: new Array<number>(32).fill(0), seed: new Array<number>(32).fill(0) };
  const count = (of: number[], difference: number) => {
    for (let bit = 0; bit < 32; bit++) of[bit]! += (difference >>> bit) & 1;
  };
  for (let round = 0; round < rounds; round++) {
    const units = Array.from({ length: 1 + below(random, 20) }, () => 32 + below(random, 90));
    const at = below(random, units.length);
    const changed = units.with(at, units[at]! ^ (1 << below(random, 7)));
    const hash = hash32(String.fromCharCode(...units));
    count(flips.text, hash ^ hash32(String.fromCharCode(...changed)));
    count(flips.seed, hash ^ hash32(String.fromCharCode(...units), 1 << below(random, 32)));
  }
  // 4 % are five standard deviations.
  for (const [of, counts] of Object.entries(flips))
    for (const [bit, n] of counts.entries())
      if (Math.abs(n / rounds - 0.5) > 0.04) t.fail(`${of}: bit ${bit} changes in ${n} of ${rounds}`);
});

test("hashes are put in order, those that are equal by what decides between them", async () => {
  const hash = fc.oneof(fc.nat(0xffffffff), fc.nat(3), fc.integer({ min: 0xfffffff0, max: 0xffffffff }));
  fc.assert(
    fc.property(fc.array(hash, { maxLength: 300 }), (list) => {
      const { order, starts, shift } = whole(orderByHash(Uint32Array.from(list), (a, b) => a > b));
      const expected = list.map((_, i) => i).sort((a, b) => list[a]! - list[b]! || b - a);
      if (order.join() !== expected.join()) return false;
      return expected.every((place, i) => {
        const bucket = list[place]! >>> shift;
        return starts[bucket]! <= i && i < starts[bucket + 1]!;
      });
    }),
  );
});
