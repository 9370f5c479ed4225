/**
 * The caller's half of a connection that has switched protocols: what the caller sends becomes a body, and either side
 * may end before the other.
 *
 * Not part of connection.ts: from the 101 on there are no messages and no head starts here any more.
 */
import type { Socket } from "node:net";
import { Body, type BodySource, type Tunnel } from "../../core/index.ts";
import { copyOf } from "../read-buffer.ts";

export class CallerTunnel {
  /** What the caller sends. */
  readonly fromCaller: Body;
  readonly #socket: Socket;
  readonly #tunnel: Tunnel;
  /** The endpoint has said all it had to say, and the caller has been told. */
  #answered = false;

  /** @param early what came before the answer did */
  constructor(socket: Socket, source: BodySource, tunnel: Tunnel, early: Uint8Array | undefined) {
    this.#socket = socket;
    this.#tunnel = tunnel;
    const cancel = (reason: Error) => {
      source.cancel(reason);
      // Neither way is left, and nothing else would tell a caller that keeps its side open.
      if (this.#answered) this.#hangUp();
    };
    this.fromCaller = new Body(
      { pause: () => source.pause(), resume: () => source.resume(), cancel },
      undefined,
    );
    if (early !== undefined) this.fromCaller.push(early);
    tunnel.connect(this.fromCaller);
  }

  onRead(bytes: Buffer, length: number): void {
    this.fromCaller.push(copyOf(bytes, 0, length));
  }

  /** The caller has ended its side. @returns whether the tunnel is over */
  onCallerEnded(): boolean {
    this.fromCaller.end();
    return this.#answered;
  }

  /** The endpoint has ended its side. @returns whether the tunnel is over */
  onAnswered(): boolean {
    this.#answered = true;
    if (this.fromCaller.complete || this.fromCaller.failed) return true;
    this.#socket.end();
    return false;
  }

  leave(): void {
    this.#tunnel.leave();
  }

  /**
   * What the kernel has still arrives; a caller that has not taken the rest is not waited for, and must not take a plain
   * end for that of the answer. Not a reset in any case: Node loses a socket that is reset while its end is being sent.
   */
  #hangUp(): void {
    if (this.#socket.writableLength > 0) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }
}
