/**
 * How many bytes TCP connections have carried, counted as they pass: a connection may last for months, and what is only counted at
 * its end is not seen until then. A connection adds to the numbers of its upstream, which it looks up once.
 */

/** Bytes of all connections of one direction and upstream. */
export interface TcpCounts {
  fromCaller: number;
  fromEndpoint: number;
}

export class TcpTally {
  readonly #counts = new Map<string, TcpCounts>();

  /** @param upstream the name of one that there is: what it is counted under stays */
  of(direction: string, upstream: string): TcpCounts {
    const key = `${direction} ${upstream}`;
    let counts = this.#counts.get(key);
    if (counts === undefined) {
      counts = { fromCaller: 0, fromEndpoint: 0 };
      this.#counts.set(key, counts);
    }
    return counts;
  }

  /** Bytes by whose they are, direction and upstream, with a blank between. */
  counts(): Record<string, number> {
    const all: Record<string, number> = {};
    for (const [key, { fromCaller, fromEndpoint }] of this.#counts) {
      all[`caller ${key}`] = fromCaller;
      all[`endpoint ${key}`] = fromEndpoint;
    }
    return all;
  }
}
