/**
 * From the bytes of a watch to its events: one JSON document a line. Bytes in, events out; it never touches a socket.
 *
 * Not node:readline: it has no limit, turns a half line at the end into a line, and takes U+2028 inside of a text for the
 * end of one. A line is decoded when it is whole, so a character may be cut anywhere.
 */
import { versionOf } from "./slices.ts";

/** What a watch says. `version` is where it may go on from. */
export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: unknown; readonly version: string }
  /** Nothing of ours has changed up to this version. */
  | { readonly type: "BOOKMARK"; readonly version: string }
  /** The server gives up on this watch; 410 when the version is too old for it. */
  | { readonly type: "ERROR"; readonly code: number; readonly message: string };

/** An EndpointSlice has at most 1,000 endpoints, and etcd takes objects of 1.5 MB: nothing of Kubernetes is as long. */
const LONGEST_LINE_BYTES = 16 * 1024 * 1024;
const NEWLINE = 0x0a;
/** Of what the server says as it gives up. */
const MOST_OF_A_REASON = 500;

export class WatchLines {
  readonly #longestLineBytes: number;
  /** The beginning of a line whose end has not come, in pieces: joining them with each would be quadratic. */
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;

  constructor(longestLineBytes: number = LONGEST_LINE_BYTES) {
    this.#longestLineBytes = longestLineBytes;
  }

  /**
   * The events that end in this chunk.
   * @throws Error when a line is too long, or is not an event
   */
  push(chunk: Uint8Array): WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#keep(chunk.subarray(start, end));
      const line = Buffer.concat(this.#pieces).toString("utf8").trim();
      this.#pieces = [];
      this.#pieceBytes = 0;
      if (line !== "") events.push(readEvent(line));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return events;
  }

  /** Whether a line has begun whose end has not come: a watch that is whole ends with a line. */
  get unfinished(): boolean {
    return this.#pieceBytes > 0;
  }

  #keep(piece: Uint8Array): void {
    this.#pieceBytes += piece.length;
    if (this.#pieceBytes > this.#longestLineBytes)
      throw new Error(`a line of the watch is longer than ${this.#longestLineBytes} bytes`);
    this.#pieces.push(piece);
  }
}

function readEvent(line: string): WatchEvent {
  const { type, object } = parseObject(line);
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
    case "BOOKMARK": {
      const version = versionOf(object);
      if (version === undefined) throw new Error(`the watch says ${type} without a resourceVersion`);
      return type === "BOOKMARK" ? { type, version } : { type, object, version };
    }
    case "ERROR": {
      const { code, message } = (object ?? {}) as { readonly code?: unknown; readonly message?: unknown };
      const said = typeof message === "string" ? message.slice(0, MOST_OF_A_REASON) : "no reason";
      return { type, code: typeof code === "number" ? code : 0, message: said };
    }
    default:
      throw new Error("the watch says something that is not an event");
  }
}

function parseObject(line: string): { readonly type?: unknown; readonly object?: unknown } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    throw new Error("the watch says something that is not JSON");
  }
  return typeof parsed === "object" && parsed !== null ? parsed : {};
}
