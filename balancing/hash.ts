/**
 * From a text to 32 bits that look like chance and are the same for ever, in every sidecar and every release.
 *
 * MurmurHash3_x86_32 (Austin Appleby, public domain) over the UTF-16 code units of the text, which JavaScript can read
 * without making bytes of them: two are one block. A multiplication and a few shifts in each step are all in 32 bits,
 * which an engine has instructions for. Not xxHash32: its four lanes gain nothing on texts as short as an address, and
 * the packages that have it spend more on the call than the hash takes. Not FNV-1a: it is slower here, at a code unit
 * a step, and its high bits, which a ring goes by, hardly depend on the last character. Not a hash with secrets, such
 * as SipHash: who can choose keys so that they meet can as well send one key often, and bounded loads answer both.
 *
 * Its values are part of what sidecars agree on: a change moves all keys at once, so the tests pin them.
 */

/**
 * @param seed 32 bits; another seed gives a hash that has nothing to do with the first
 * @returns 32 bits without sign
 */
export function hash32(text: string, seed = 0): number {
  const length = text.length;
  const even = length & ~1;
  let hash = seed | 0;
  for (let i = 0; i < even; i += 2)
    hash = withBlock(hash, text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16));
  if (even < length) hash ^= scrambled(text.charCodeAt(even));
  return finished(hash ^ (length << 1));
}

/**
 * Two numbers of 32 bits to one: MurmurHash3 of the four bytes of `value` with `seed`. With one seed, different values
 * never meet: each step can be undone.
 * @returns 32 bits without sign
 */
export function mix32(seed: number, value: number): number {
  return finished(withBlock(seed | 0, value) ^ 4);
}

function withBlock(hash: number, block: number): number {
  const mixed = hash ^ scrambled(block);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function scrambled(block: number): number {
  const product = Math.imul(block, 0xcc9e2d51);
  return Math.imul((product << 15) | (product >>> 17), 0x1b873593);
}

/** Every bit of the hash comes to depend on every other: a changed bit changes each with a chance of one half. */
function finished(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
