/**
 * How long a caller will wait for its answer, as it says in the fields of its request. Reading only: what it means for the request
 * is caller-deadline.layer.ts's to say.
 *
 * Three fields, because three kinds of callers send them: heddle's own, gRPC's and Envoy's. Of several the shortest holds.
 * A caller can only shorten its time, so a value that is no number, or one of days, is no fault that a request should fail for: it
 * shortens nothing and is passed over.
 */
import { isName } from "../core/index.ts";

/** In lower case, as they are compared; whole milliseconds but for `grpc-timeout`, which has a unit. */
export const TIMEOUT_FIELD = "x-heddle-timeout-ms";
export const GRPC_TIMEOUT_FIELD = "grpc-timeout";
export const ENVOY_TIMEOUT_FIELD = "x-envoy-expected-rq-timeout-ms";

/** Eleven days: who waits longer does not wait for an answer. */
const MOST_DIGITS = 9;
/** As gRPC has it. */
const MOST_GRPC_DIGITS = 8;

const ZERO = 48;
const NINE = 57;

const GRPC_UNIT_MS: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
});

/** What the caller gives its request, in milliseconds from when the head arrived; Infinity when it says nothing that can be used. */
export function callersLimitMs(headers: readonly string[]): number {
  let limitMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    let ms = -1;
    // Length first: every request passes here, and nearly no field has the length of one of these.
    switch (name.length) {
      case TIMEOUT_FIELD.length:
        if (isName(name, TIMEOUT_FIELD)) ms = wholeMs(headers[i + 1]!);
        break;
      case GRPC_TIMEOUT_FIELD.length:
        if (isName(name, GRPC_TIMEOUT_FIELD)) ms = grpcMs(headers[i + 1]!);
        break;
      case ENVOY_TIMEOUT_FIELD.length:
        if (isName(name, ENVOY_TIMEOUT_FIELD)) ms = wholeMs(headers[i + 1]!);
        break;
    }
    if (ms >= 0 && ms < limitMs) limitMs = ms;
  }
  return limitMs;
}

/** Whole milliseconds as digits and nothing else; -1 for anything else. */
export function wholeMs(value: string): number {
  return digits(value, value.length, MOST_DIGITS);
}

/** `<digits><unit>` as in gRPC, in milliseconds with fractions; -1 for anything else. */
export function grpcMs(value: string): number {
  const unitMs = GRPC_UNIT_MS[value.charAt(value.length - 1)];
  const amount = digits(value, value.length - 1, MOST_GRPC_DIGITS);
  return unitMs === undefined || amount < 0 ? -1 : amount * unitMs;
}

/** The number in front of `end`, or -1. By hand: a regular expression and Number() take five times as long, for every request. */
function digits(text: string, end: number, most: number): number {
  if (end < 1 || end > most) return -1;
  let amount = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code < ZERO || code > NINE) return -1;
    amount = amount * 10 + code - ZERO;
  }
  return amount;
}

/** What gRPC is told is left: in the finest unit that its eight digits have room for, and never nothing. */
export function grpcTimeout(leftMs: number): string {
  if (leftMs < 90_000) return `${Math.max(1, Math.floor(leftMs * 1000))}u`;
  if (leftMs < 90_000_000) return `${Math.floor(leftMs)}m`;
  return `${Math.min(99_999_999, Math.floor(leftMs / 1000))}S`;
}
