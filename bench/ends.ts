/**
 * How what a bench has started is ended: told by the parts themselves, as tests have it, since benches start what tests start.
 */
import type { Teardown } from "../test/support/apps.ts";

export class Ends implements Teardown {
  readonly #ends: (() => unknown)[] = [];

  teardown(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** The last one first; what comes after begins anew. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}
