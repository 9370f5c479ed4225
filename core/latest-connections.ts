/**
 * How many connections a port keeps open, where nobody is known by name: the one that has gone without an answer for the longest makes room for a new one.
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

export class LatestConnections {
  readonly #most: number;
  readonly #crowdedOut: () => void;
  /** By both of its addresses, in the order of their last answers, or of their beginnings where there was none. */
  readonly #open = new Map<string, OpenConnection>();

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
    this.#open.set(key, socket);
    socket.once("close", () => {
      if (this.#open.get(key) === socket) this.#open.delete(key);
    });
    if (this.#open.size <= this.#most) return;
    const [first] = this.#open;
    if (first === undefined) return;
    const [longest, other] = first;
    this.#open.delete(longest);
    other.destroy();
    this.#crowdedOut();
  }

  /** Something was asked on it and has been answered. */
  answered(socket: OpenConnection): void {
    const key = keyOf(socket);
    const accepted = this.#open.get(key);
    if (accepted === undefined) return;
    this.#open.delete(key);
    this.#open.set(key, accepted);
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: OpenConnection): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
