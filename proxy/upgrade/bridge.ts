/**
 * What http-proxy takes for the caller's socket: a duplex stream with a body at each end.
 *
 * http-proxy wants to own the caller's connection and to write its answer there itself. That connection belongs to
 * the pipeline, which has its own way of answering. So http-proxy is given this instead: what it writes goes into the
 * body of the answer, what the caller sends is read here, and the slower side holds the faster one back.
 */
import { Duplex } from "node:stream";
import type { Body } from "../../core/index.ts";

/** What happens on the bridge. */
export interface BridgeOwner {
  /** Bytes for the caller. False holds further ones back until `release`. */
  onBytes(bytes: Uint8Array): boolean;
  /** The endpoint has ended its side. */
  onEnd(): void;
}

/** What http-proxy asks of a socket besides; the pipeline has its own time limits. */
const SOCKET_SETTINGS = ["setTimeout", "setNoDelay", "setKeepAlive"];

export class Bridge extends Duplex {
  readonly #owner: BridgeOwner;
  #caller: Body | undefined;
  #headPassed = false;
  #held: (() => void) | undefined;

  constructor(owner: BridgeOwner) {
    super({ allowHalfOpen: true });
    this.#owner = owner;
    for (const method of SOCKET_SETTINGS) Object.assign(this, { [method]: () => this });
    // Whoever destroys it has told everybody already.
    this.on("error", () => {});
  }

  /** The caller's bytes are taken from here on. */
  connect(fromCaller: Body, onFailed: (cause: Error) => void, onBytes: () => void): void {
    this.#caller = fromCaller;
    fromCaller.pipe({
      write: (chunk) => {
        onBytes();
        return this.push(chunk);
      },
      end: () => void this.push(null),
      fail: onFailed,
    });
  }

  /** The caller takes more. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  override _read(): void {
    this.#caller?.resume();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    if (!this.#headPassed) {
      // http-proxy's own 101; the pipeline has answered with one already.
      this.#headPassed = true;
      done();
    } else if (this.#owner.onBytes(bytes)) {
      done();
    } else {
      this.#held = done;
    }
  }

  override _final(done: () => void): void {
    this.#owner.onEnd();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // What the caller still sends has nowhere to go.
    this.#caller?.cancel(error ?? new Error("the endpoint has gone"));
    done(error);
  }
}
