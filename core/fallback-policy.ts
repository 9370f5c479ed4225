/**
 * What a route answers for itself when its upstream cannot. Plain values: they cross to other threads.
 */
import type { ErrorCode } from "./errors.ts";

interface StaticAnswer {
  readonly status: number;
  /** Flat pairs. */
  readonly headers: readonly string[];
  readonly body: string;
}

export interface LastGoodOptions {
  /** How old an answer may be, in milliseconds. */
  readonly maxAgeMs: number;
  /** All answers of the route together, with what it takes to keep them. */
  readonly maxBytes: number;
  readonly maxBodyBytes: number;
  /** The request's fields by which answers are told apart, in lower case. */
  readonly vary: readonly string[];
  /** By which several workers hear what makes their answers untrue; undefined where one keeps them. See resilience/shared-changes.ts. */
  readonly changes?: SharedArrayBuffer | undefined;
}

export interface FallbackPolicy {
  /** Codes of failures, and statuses of answers. */
  readonly on: readonly (ErrorCode | number)[];
  readonly methods: readonly string[];
  /** Comes second, where there is no good answer. */
  readonly answer?: StaticAnswer | undefined;
  /** For GET and HEAD. */
  readonly lastGood?: LastGoodOptions | undefined;
}
