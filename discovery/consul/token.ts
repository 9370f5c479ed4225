/**
 * The ACL token: given, or in a file that somebody else renews. A file is looked at again now and then, and at once when
 * the agent has refused the token, since that is how a renewal is usually noticed.
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "../../core/index.ts";

const LOOK_AGAIN_MS = 10_000;

export class Token {
  readonly #given: string | undefined;
  readonly #file: string | undefined;
  readonly #clock: Clock;
  #read: string | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(given: string | undefined, file: string | undefined, clock: Clock) {
    this.#given = given;
    this.#file = file;
    this.#clock = clock;
  }

  /**
   * The token now; undefined for none.
   * @throws Error when the file has never been readable
   */
  async current(): Promise<string | undefined> {
    if (this.#given !== undefined || this.#file === undefined) return this.#given;
    if (this.#clock.now() - this.#readAtMs < LOOK_AGAIN_MS) return this.#read;
    try {
      const read = (await readFile(this.#file, "utf8")).trim();
      if (read === "") throw new Error("an empty file");
      this.#read = read;
      this.#readAtMs = this.#clock.now();
    } catch (thrown) {
      // One that is just being replaced must not take the token away that still holds: without one, a registry may well
      // answer, and list nobody.
      if (this.#read === undefined)
        throw new Error(`expected a token in ${this.#file}, got ${(thrown as Error).message}`);
    }
    return this.#read;
  }

  /** The agent has refused it: a file is looked at with the next call. */
  refused(): void {
    this.#readAtMs = Number.NEGATIVE_INFINITY;
  }
}
