/**
 * What was made for the last few keys that were used; who is not among them is forgotten.
 *
 * Not a weak map: until a full collection of garbage everything that one holds is alive, with all that leads on from it.
 * Where a list of thousands comes each second, the quick collections in between would copy all of those lists, and
 * stand still for it.
 */
export class Lately<K extends object, V> {
  readonly #most: number;
  /** The last that was used at the end. */
  readonly #entries = new Map<K, V>();

  /** @param most how many are remembered; at least 1 */
  constructor(most: number) {
    this.#most = most;
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: K, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
