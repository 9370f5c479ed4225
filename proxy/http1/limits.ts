/**
 * How much a peer may make heddle hold before a message is understood. All are counted in bytes on the wire,
 * so they do not depend on how the bytes were split into packets.
 */
export interface MessageLimits {
  /** Request line or status line, without its CRLF. */
  readonly startLineBytes: number;
  /** Start line and fields together, and separately the trailers. */
  readonly headBytes: number;
  readonly fieldCount: number;
}

export const DEFAULT_LIMITS: MessageLimits = { startLineBytes: 8192, headBytes: 65536, fieldCount: 128 };

/** A chunk-size line with its extensions; real ones have under 20 bytes, and long ones are used to tire a parser. */
export const CHUNK_LINE_BYTES = 256;

/** Interim answers before a final one; more are a way to keep a caller busy for ever. */
export const INTERIM_COUNT = 32;
