/**
 * Chance that can be replayed, and is good enough for ten million jobs: sfc32 ("small fast counting", Chris
 * Doty-Humphrey, PractRand, public domain), 128 bits of state, which passes PractRand and TestU01's BigCrush.
 *
 * Not mulberry32 of the tests: its 32 bits of state repeat after four thousand million draws, and of the values it can
 * return a third never come. And not one generator for all: with a stream for each source of chance, two algorithms
 * meet the same arrivals and the same service times, and a change of the one does not stir the others.
 */
import type { Random } from "../../core/index.ts";

/** What chance is needed for; the number is the stream's. */
export const STREAMS = { arrivals: 1, services: 2, balancing: 3, clients: 4 } as const;

/** Rounds until the seed has reached every bit of the state (the author's figure). */
const WARM_UP_ROUNDS = 15;

/** @param stream of the same seed, an independent one for each number */
export function sfc32(seed: number, stream: number = STREAMS.balancing): Random {
  // In an array of its own: there the four words stay integers of 32 bits for the compiler, too.
  const state = new Int32Array([
    splitMix(seed),
    splitMix(seed ^ 0x5bf03635),
    splitMix(stream + 0x3c6ef372),
    1,
  ]);
  const random: Random = {
    next() {
      const sum = (state[0]! + state[1]! + state[3]!) | 0;
      const third = state[2]!;
      state[3] = state[3]! + 1;
      state[0] = state[1]! ^ (state[1]! >>> 9);
      state[1] = third + (third << 3);
      state[2] = ((third << 21) | (third >>> 11)) + sum;
      return (sum >>> 0) / 2 ** 32;
    },
  };
  for (let i = 0; i < WARM_UP_ROUNDS; i++) random.next();
  return random;
}

/** Neighbouring seeds far apart: the finalizer of SplitMix, 32 bits (constants of Murmur3's, Austin Appleby). */
function splitMix(seed: number): number {
  let mixed = (seed + 0x9e3779b9) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
