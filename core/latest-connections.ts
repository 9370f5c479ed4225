/**
 * How many connections a port keeps open, where nobody is known by name, and how much may be asked on each at once: of too many connections the one that has gone without an answer for the longest makes room for a new one.
 *
 * Not the usual limit, which turns new connections away: whoever opens so many and says nothing would keep everybody else out for as long as
 * he likes. Here he only loses his own, since those that are asked and answered stand behind them.
 */

/** A socket, as far as it matters; one of TLS has the addresses of the one under it, and so stands for the same connection. */
export interface OpenConnection {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  destroy(): unknown;
  once(event: "close", act: () => void): unknown;
}

interface Kept {
  readonly socket: OpenConnection;
  /** What was asked on it and is not answered. */
  waiting: number;
}

/**
 * Callers wait for one answer before they ask again, or for a few. Node makes all requests that it finds in a packet at once, thousands of small ones, and keeps
 * their answers until they are read.
 */
const MOST_WAITING = 16;

export class LatestConnections {
  readonly #most: number;
  readonly #crowdedOut: () => void;
  /** By both of its addresses, in the order of their last answers, or of their beginnings where there was none. */
  readonly #open = new Map<string, Kept>();

  /** @param crowdedOut called for each that is closed before its time */
  constructor(most: number, crowdedOut: () => void = () => {}) {
    this.#most = most;
    this.#crowdedOut = crowdedOut;
  }

  /** Keeps one that has just been accepted, and closes another where there are too many. */
  admit(socket: OpenConnection): void {
    // Its peer has gone already, and it is about to close.
    if (socket.remoteAddress === undefined) return;
    const key = keyOf(socket);
    const kept: Kept = { socket, waiting: 0 };
    this.#open.set(key, kept);
    socket.once("close", () => {
      if (this.#open.get(key) === kept) this.#open.delete(key);
    });
    if (this.#open.size <= this.#most) return;
    const [first] = this.#open;
    if (first !== undefined) this.#close(...first);
  }

  /** Something is asked on it; it is closed where too much is. */
  asked(socket: OpenConnection): void {
    const key = keyOf(socket);
    const kept = this.#open.get(key);
    if (kept !== undefined && ++kept.waiting > MOST_WAITING) this.#close(key, kept);
  }

  /** What was asked on it has been answered, and the answer is on its way. */
  answered(socket: OpenConnection): void {
    const key = keyOf(socket);
    const kept = this.#open.get(key);
    if (kept === undefined) return;
    kept.waiting--;
    this.#open.delete(key);
    this.#open.set(key, kept);
  }

  #close(key: string, { socket }: Kept): void {
    this.#open.delete(key);
    socket.destroy();
    this.#crowdedOut();
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: OpenConnection): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
