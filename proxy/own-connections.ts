/**
 * Which connections are this sidecar's own, so that one that is redirected back to it is known and not carried round for ever: that
 * happens where the rules of the kernel name another user than the one that it runs as.
 *
 * A table by local port, in memory that all workers share, since a connection of one may come back to another. Each place holds
 * a hash of both addresses; where two connections have one local port the later one counts, and a loop is then found a
 * round later. One worker may accept what another has not noted yet, so it is asked again when the connection has spoken, or
 * a turn later. Without a table, where nothing is redirected, nothing is noted.
 */
import type { Socket } from "node:net";

const PORTS = 65_536;

/** Shared by all threads of a sidecar. */
export function ownConnectionTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(PORTS * Int32Array.BYTES_PER_ELEMENT);
}

class OwnConnections {
  #table: Int32Array | undefined;

  /** From now on connections are noted, and found. */
  use(table: SharedArrayBuffer): void {
    this.#table = new Int32Array(table);
  }

  /** One that is about to connect. */
  note(socket: Socket, { address, port }: { readonly address: string; readonly port: number }): void {
    const table = this.#table;
    if (table === undefined) return;
    // Node connects in the next turn; then its own address is known, before anybody has answered.
    process.nextTick(() => {
      const { localAddress, localPort } = socket;
      if (localAddress === undefined || localPort === undefined) return;
      const hash = hashOf(localAddress, address, port);
      Atomics.store(table, localPort, hash);
      socket.once("close", () => Atomics.compareExchange(table, localPort, hash, 0));
    });
  }

  /** Whether a connection from there to there is one of ours. */
  has(from: { readonly address: string; readonly port: number }, to: typeof from): boolean {
    const hash = hashOf(from.address, to.address, to.port);
    return this.#table !== undefined && Atomics.load(this.#table, from.port) === hash;
  }
}

/** Those of this thread, as the clock is. */
export const ownConnections: OwnConnections = new OwnConnections();

/** FNV-1a, 32 bits; never 0, which is an empty place. */
function hashOf(from: string, to: string, port: number): number {
  let hash = 0x811c9dc5;
  for (const char of `${from} ${to} ${port}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return hash | 1;
}
