/**
 * How much callers hold in memory: the bodies that are being read, and the answers that they have yet to take.
 *
 * Anybody in the cluster can connect, and all of it together must not be more than the container may use. Where it would be, the caller who has held his for
 * the longest is cut off, and not the new one refused: a review comes and is answered within milliseconds, so who holds on is somebody else.
 */

/** Somebody who can be cut off. */
interface Holder {
  destroy(): unknown;
}

/** Of 256 MiB in the manifests; the API server's reviews are some ten thousand bytes each. */
const MOST_BYTES_AT_ONCE = 64 * 1024 * 1024;

export class HeldBytes {
  readonly #crowdedOut: () => void;
  /** In the order in which they began. */
  readonly #holders = new Map<Holder, number>();
  #bytes = 0;

  constructor(crowdedOut: () => void) {
    this.#crowdedOut = crowdedOut;
  }

  add(holder: Holder, bytes: number): void {
    this.#bytes += bytes;
    this.#holders.set(holder, (this.#holders.get(holder) ?? 0) + bytes);
    for (const longest of this.#holders.keys()) {
      if (this.#bytes <= MOST_BYTES_AT_ONCE) return;
      this.letGo(longest);
      longest.destroy();
      this.#crowdedOut();
    }
  }

  /** It has all of its answer, or has gone. */
  letGo(holder: Holder): void {
    this.#bytes -= this.#holders.get(holder) ?? 0;
    this.#holders.delete(holder);
  }
}
