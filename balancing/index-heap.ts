/**
 * Whole numbers, each with a key that is kept elsewhere, the one of the least key on top; of equal keys the smaller number.
 *
 * Not entries with their keys: keys lie in a typed array beside what else is known of each number, so that nothing is
 * made at a push, and the two heaps of weighted-turns.ts can go by two keys of the same. (Binary heap; Williams,
 * "Algorithm 232: Heapsort", 1964.)
 */
export class IndexHeap {
  readonly #keys: Float64Array;
  readonly #heap: Uint32Array;
  #size = 0;

  /** @param keys by number; that of a number in the heap must not change. No number may be in the heap twice */
  constructor(keys: Float64Array) {
    this.#keys = keys;
    this.#heap = new Uint32Array(keys.length);
  }

  get size(): number {
    return this.#size;
  }

  /** The number of the least key; only when there is one. */
  get top(): number {
    return this.#heap[0]!;
  }

  push(index: number): void {
    const keys = this.#keys;
    const heap = this.#heap;
    const key = keys[index]!;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = heap[parent]!;
      const otherKey = keys[other]!;
      if (otherKey < key || (otherKey === key && other < index)) break;
      heap[at] = other;
      at = parent;
    }
    heap[at] = index;
  }

  /** Takes the top away; only when there is one. */
  pop(): number {
    const keys = this.#keys;
    const heap = this.#heap;
    const top = heap[0]!;
    const size = --this.#size;
    const index = heap[size]!;
    const key = keys[index]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      let other = heap[child]!;
      let otherKey = keys[other]!;
      if (child + 1 < size) {
        const right = heap[child + 1]!;
        const rightKey = keys[right]!;
        if (rightKey < otherKey || (rightKey === otherKey && right < other)) {
          child++;
          other = right;
          otherKey = rightKey;
        }
      }
      if (key < otherKey || (key === otherKey && index < other)) break;
      heap[at] = other;
      at = child;
    }
    heap[at] = index;
    return top;
  }
}
