/**
 * A message body in motion: one producer pushes, one consumer takes, and the slower of the two sets the pace.
 *
 * Not a Node stream: a body is touched several times per request, and most bodies here are complete before
 * anyone asks for them, so the common case must cost a field read. A body can also do what a stream cannot:
 * remember what was consumed and be rewound, so that a request can be sent again.
 *
 * Its law: it closes exactly once, as "success" (the producer ended it), "failure" (the producer broke) or
 * "ignored" (the consumer lost interest), and everybody who asked is told.
 */
import type { Outcome } from "./outcome.ts";

/**
 * The far end of a body. After `end` or `fail` nothing more is called. Both come as soon as all chunks have been handed over, also to a
 * sink that is full: what it still holds is its own to see to.
 */
export interface BodySink {
  /** False asks the body to pause until `resume` is called on it. */
  write(chunk: Uint8Array): boolean;
  /** `trailers` are flat pairs, empty for nearly all messages. */
  end(trailers: readonly string[]): void;
  fail(cause: Error): void;
}

/** The near end: what a body asks of the connection that feeds it. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** The consumer wants no more. */
  cancel(reason: Error): void;
}

const NO_TRAILERS: readonly string[] = [];
const NOTHING: readonly Uint8Array[] = [];
const NO_SOURCE: BodySource = { pause() {}, resume() {}, cancel() {} };

/** How much a body holds for a consumer that has not come yet, before its producer is paused. */
const HIGH_WATER_BYTES = 64 * 1024;

export class Body {
  /** The Content-Length in bytes, or undefined when the end is found by framing. */
  readonly length: number | undefined;
  /** How many bytes the producer has pushed. */
  pushedBytes = 0;
  trailers: readonly string[] = NO_TRAILERS;
  #source: BodySource;
  #state: "open" | "ended" | "failed" | "cancelled" = "open";
  #failure: Error | undefined;
  /** Made when something has to wait: most bodies are one piece, or none. */
  #queue: Uint8Array[] | undefined = undefined;
  /** What of the queue has been delivered. Not shifted off: that is quadratic for a queue of many small pieces. */
  #taken = 0;
  #queuedBytes = 0;
  #sink: BodySink | undefined;
  #sinkFull = false;
  #sourcePaused = false;
  #delivered = false;
  #closed: ((outcome: Outcome) => void)[] | undefined;
  #kept: Uint8Array[] | undefined;
  #keptBytes = 0;
  #keepLimitBytes = 0;
  #touched = false;

  constructor(source: BodySource, length: number | undefined) {
    this.#source = source;
    this.length = length;
  }

  /** A body that is complete from the start. */
  static of(bytes: Uint8Array): Body {
    const body = new Body(NO_SOURCE, bytes.length);
    if (bytes.length > 0) body.push(bytes);
    body.end();
    return body;
  }

  static empty(): Body {
    const body = new Body(NO_SOURCE, 0);
    body.#state = "ended";
    return body;
  }

  /** The producer has delivered everything, whether or not it has been consumed. */
  get complete(): boolean {
    return this.#state === "ended";
  }

  get failed(): boolean {
    return this.#state === "failed" || this.#state === "cancelled";
  }

  // --- the producer's side

  push(chunk: Uint8Array): void {
    if (this.#state !== "open") return;
    this.pushedBytes += chunk.length;
    if (this.#sink !== undefined && !this.#sinkFull && this.#queue === undefined) {
      this.#deliver(chunk);
    } else {
      if (this.#queue === undefined) this.#queue = [chunk];
      else this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
    }
    if (!this.#sourcePaused && (this.#sinkFull || this.#queuedBytes > HIGH_WATER_BYTES)) {
      this.#sourcePaused = true;
      this.#source.pause();
    }
  }

  end(trailers: readonly string[] = NO_TRAILERS): void {
    if (this.#state !== "open") return;
    this.trailers = trailers;
    this.#state = "ended";
    this.#releaseSource();
    this.#tellClosed("success");
    this.#flush();
  }

  fail(cause: Error): void {
    if (this.#state !== "open") return;
    this.#failure = cause;
    this.#state = "failed";
    this.#releaseSource();
    this.#tellClosed("failure");
    this.#flush();
  }

  // --- the consumer's side

  /** Attaches the one consumer; what has been queued is handed over at once. */
  pipe(sink: BodySink): void {
    this.#sink = sink;
    this.#touched = true;
    this.#delivered = false;
    this.#sinkFull = false;
    this.#flush();
    this.#resumeSource();
  }

  /** Detaches the consumer; what comes now waits for the next one. */
  unpipe(): void {
    this.#sink = undefined;
    this.#sinkFull = false;
  }

  /** The consumer can take more, after a `write` that returned false. */
  resume(): void {
    this.#sinkFull = false;
    this.#flush();
    this.#resumeSource();
  }

  /** Takes everything that is here as one list, without a sink; only for a body that is complete. */
  takeAll(): readonly Uint8Array[] {
    this.#touched = true;
    const all = this.#waiting();
    this.#dropQueue();
    this.#delivered = true;
    if (this.#kept !== undefined) for (const chunk of all) this.#keep(chunk);
    return all;
  }

  /** The consumer wants no more. The producer is told, unless it has finished already. */
  cancel(reason: Error): void {
    this.#sink = undefined;
    this.#dropQueue();
    this.#kept = undefined;
    if (this.#state !== "open") return;
    this.#state = "cancelled";
    this.#failure = reason;
    const source = this.#source;
    this.#source = NO_SOURCE;
    this.#tellClosed("ignored");
    source.cancel(reason);
  }

  /** Calls back once when the body has closed; at once when it has already. */
  onClosed(listener: (outcome: Outcome) => void): void {
    if (this.#state === "open") {
      this.#closed ??= [];
      this.#closed.push(listener);
    } else {
      listener(this.#outcome());
    }
  }

  // --- being sent again

  /** From now on, remembers what is consumed, up to `limitBytes`, so that `rewind` can give it out again. */
  remember(limitBytes: number): void {
    if (!this.#touched) this.#kept ??= [];
    this.#keepLimitBytes = limitBytes;
  }

  /** The whole body, once its producer has ended it and if all that was consumed is still remembered. */
  get remembered(): readonly Uint8Array[] | undefined {
    return this.complete && this.#queue === undefined ? this.#kept : undefined;
  }

  /** It will not be sent again; what was remembered is let go of. */
  forget(): void {
    this.#kept = undefined;
  }

  /** Nobody has consumed a byte of it, or everything consumed is still remembered. */
  get rewindable(): boolean {
    return !this.failed && (!this.#touched || this.#kept !== undefined);
  }

  /** Puts what was consumed back in front; the next consumer sees the body from its first byte. */
  rewind(): void {
    if (!this.rewindable) throw new Error("the body was consumed beyond what is remembered");
    this.unpipe();
    if (this.#kept !== undefined && this.#kept.length > 0) {
      this.#queue = [...this.#kept, ...this.#waiting()];
      this.#taken = 0;
      this.#queuedBytes += this.#keptBytes;
      this.#kept = [];
      this.#keptBytes = 0;
    }
    this.#delivered = false;
  }

  /**
   * The same bytes as a body of their own, whatever has been consumed of these; undefined while they are still
   * arriving, and where not all of them are held any more.
   */
  duplicate(): Body | undefined {
    if (!this.complete || !this.rewindable) return undefined;
    const copy = new Body(NO_SOURCE, this.length);
    for (const chunk of [...(this.#kept ?? NOTHING), ...this.#waiting()]) copy.push(chunk);
    copy.end(this.trailers);
    return copy;
  }

  /** For layers that read a body themselves. Chunks come as the producer sends them. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const arrived: Uint8Array[] = [];
    let finished = false;
    let failure: Error | undefined;
    let wake: (() => void) | undefined;
    this.pipe({
      write: (chunk) => {
        arrived.push(chunk);
        wake?.();
        return false;
      },
      end: () => {
        finished = true;
        wake?.();
      },
      fail: (cause) => {
        failure = cause;
        wake?.();
      },
    });
    this.onClosed((outcome) => {
      if (outcome === "ignored") failure = this.#failure;
      wake?.();
    });
    try {
      for (;;) {
        const chunk = arrived.shift();
        if (chunk !== undefined) {
          yield chunk;
          this.resume();
        } else if (failure !== undefined) {
          throw failure;
        } else if (finished) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      if (!finished) this.cancel(new Error("the reader stopped before the end"));
    }
  }

  #deliver(chunk: Uint8Array): void {
    if (this.#kept !== undefined) this.#keep(chunk);
    if (!this.#sink!.write(chunk)) this.#sinkFull = true;
  }

  #keep(chunk: Uint8Array): void {
    this.#keptBytes += chunk.length;
    if (this.#keptBytes > this.#keepLimitBytes) this.#kept = undefined;
    else this.#kept!.push(chunk);
  }

  #flush(): void {
    while (this.#sink !== undefined && !this.#sinkFull && this.#queue !== undefined) {
      const chunk = this.#queue[this.#taken++]!;
      this.#queuedBytes -= chunk.length;
      if (this.#taken === this.#queue.length) this.#dropQueue();
      this.#deliver(chunk);
    }
    if (this.#sink === undefined || this.#delivered || this.#queue !== undefined) return;
    if (this.#state === "ended") {
      this.#delivered = true;
      this.#sink.end(this.trailers);
    } else if (this.#failure !== undefined) {
      this.#delivered = true;
      this.#sink.fail(this.#failure);
    }
  }

  #waiting(): readonly Uint8Array[] {
    if (this.#queue === undefined) return NOTHING;
    return this.#taken === 0 ? this.#queue : this.#queue.slice(this.#taken);
  }

  #dropQueue(): void {
    this.#queue = undefined;
    this.#taken = 0;
    this.#queuedBytes = 0;
  }

  #resumeSource(): void {
    if (this.#sourcePaused && !this.#sinkFull && this.#queuedBytes <= HIGH_WATER_BYTES) {
      this.#sourcePaused = false;
      this.#source.resume();
    }
  }

  /** The producer has nothing more for this body, and serves others: a late consumer must not reach it any more. */
  #releaseSource(): void {
    const source = this.#source;
    this.#source = NO_SOURCE;
    if (!this.#sourcePaused) return;
    this.#sourcePaused = false;
    source.resume();
  }

  #outcome(): Outcome {
    return this.#state === "ended" ? "success" : this.#state === "failed" ? "failure" : "ignored";
  }

  #tellClosed(outcome: Outcome): void {
    const listeners = this.#closed;
    if (listeners === undefined) return;
    this.#closed = undefined;
    for (const listener of listeners) listener(outcome);
  }
}
