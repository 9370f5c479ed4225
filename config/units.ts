/**
 * Values with units, as people write them: 250ms, 2s, 50%, 64KiB, 127.0.0.1:8080.
 *
 * A bare number is refused where a unit belongs: "timeout: 5" has meant seconds to one reader and milliseconds
 * to the next. Each unit is one valibot schema whose message says what is expected; the parser puts what came
 * behind it, so everything is judged before the transform, on the text as it was written.
 */
import * as v from "valibot";

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const DURATION_MS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const LONGEST_MS = 24 * DURATION_MS.h;

/** A duration with its unit; the output is in milliseconds. */
export function duration(minimumMs = 1, longestMs = LONGEST_MS) {
  const examples = [250, 2000, 60_000, 600_000].filter((ms) => ms >= minimumMs).slice(0, 3);
  const range = `from ${durationText(minimumMs)} to ${durationText(longestMs)}`;
  const expected = `a duration ${range}, such as ${either(examples.map(durationText))}`;
  return v.pipe(
    v.string(expected),
    v.regex(DURATION, expected),
    v.check((text) => durationMs(text) >= minimumMs && durationMs(text) <= longestMs, expected),
    v.transform(durationMs),
  );
}

/** A duration as a person writes it, such as 10m, in milliseconds; undefined if it is none, is 0 or longer than a day. */
export function parseDuration(text: string): number | undefined {
  const ms = DURATION.test(text) ? durationMs(text) : 0;
  return ms > 0 && ms <= LONGEST_MS ? ms : undefined;
}

/** A duration, or two of which it is between; the output is both, in milliseconds. */
export function durationRange() {
  const expected = "a duration such as 200ms, or two such as 100ms-2s, of at most 24h";
  const ends = (range: string) => {
    const [from = "", to = from] = range.split("-");
    return [durationMs(from), durationMs(to)] as const;
  };
  const isOne = ([fromMs, toMs]: readonly [number, number]) => fromMs <= toMs && toMs <= LONGEST_MS;
  return v.pipe(
    v.string(expected),
    v.regex(/^[^-]+(?:-[^-]+)?$/, expected),
    // What is no duration is no number.
    v.check((range) => isOne(ends(range)), expected),
    v.transform(ends),
  );
}

/** Milliseconds as a person would write them. */
export function durationText(ms: number): string {
  for (const [unit, unitMs] of Object.entries(DURATION_MS))
    if (ms >= unitMs && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  return ms === 0 ? "0s" : `${ms}ms`;
}

function durationMs(text: string): number {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  return Number(amount) * DURATION_MS[unit as keyof typeof DURATION_MS];
}

const SIZE = /^(\d+)(B|KiB|MiB|GiB)$/;
const SIZE_BYTES = { GiB: 1024 ** 3, MiB: 1024 ** 2, KiB: 1024, B: 1 } as const;

/** A size with its unit; the output is in bytes. */
export function size(maximumBytes: number, minimumBytes = 0) {
  const from = minimumBytes === 0 ? "" : `of at least ${sizeText(minimumBytes)} and `;
  const expected = `a size ${from}of at most ${sizeText(maximumBytes)}, such as 64KiB`;
  return v.pipe(
    v.string(expected),
    v.regex(SIZE, expected),
    v.check((text) => sizeBytes(text) >= minimumBytes && sizeBytes(text) <= maximumBytes, expected),
    v.transform(sizeBytes),
  );
}

/** Bytes as a person would write them. */
export function sizeText(bytes: number): string {
  const [unit, unitBytes] = Object.entries(SIZE_BYTES).find(([, of]) => bytes % of === 0)!;
  return `${bytes / unitBytes}${unit}`;
}

function sizeBytes(text: string): number {
  const [, amount, unit] = SIZE.exec(text) ?? [];
  return Number(amount) * SIZE_BYTES[unit as keyof typeof SIZE_BYTES];
}

const PERCENT = /^(\d+(?:\.\d+)?)%$/;

/** A share in percent; the output is a fraction. */
export function percent(minimum: number, maximum: number) {
  const expected = `a share from ${minimum}% to ${maximum}%, such as 50%`;
  const shareOf = (text: string) => Number(PERCENT.exec(text)?.[1]) / 100;
  return v.pipe(
    v.string(expected),
    v.regex(PERCENT, expected),
    v.check((text) => shareOf(text) >= minimum / 100 && shareOf(text) <= maximum / 100, expected),
    v.transform(shareOf),
  );
}

export function wholeNumber(minimum: number, maximum: number) {
  const expected = `a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(minimum, expected),
    v.maxValue(maximum, expected),
  );
}

/** A number that need not be whole. */
export function numberFrom(minimum: number, maximum: number, example: number) {
  const expected = `a number from ${minimum} to ${maximum}, such as ${example}`;
  return v.pipe(v.number(expected), v.minValue(minimum, expected), v.maxValue(maximum, expected));
}

export function text(expected: string) {
  return v.pipe(v.string(expected), v.minLength(1, expected));
}

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/** `host:port` or `[IPv6]:port`; the output is both apart. */
export function address(minimumPort: 0 | 1) {
  const expected =
    minimumPort === 0
      ? "an address and a port from 0 (any that is free) to 65535, such as 127.0.0.1:15001 or [::1]:15001"
      : "an address and a port from 1 to 65535, such as 10.0.0.1:8080, db.internal:8080 or [::1]:8080";
  return v.pipe(
    v.string(expected),
    v.regex(ADDRESS, expected),
    // What the pattern lets through and a URL does not: 300.0.0.1, [1::2::3], port 70000.
    v.check((given) => URL.canParse(`http://${given}`), expected),
    v.check((given) => splitAddress(given).port >= minimumPort, expected),
    v.transform(splitAddress),
  );
}

function splitAddress(given: string): { readonly host: string; readonly port: number } {
  const [, ipv6, host, port] = ADDRESS.exec(given) ?? [];
  return { host: ipv6 ?? host ?? "", port: Number(port) };
}

const HOST = /^(?:[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+)$/;

/** A host name or an IP address, IPv6 without brackets, and no port. */
export function host() {
  const expected = "a host name or an IP address without a port, such as 10.0.0.1";
  return v.pipe(
    v.string(expected),
    v.regex(HOST, expected),
    v.check((given) => URL.canParse(`http://${given.includes(":") ? `[${given}]` : given}`), expected),
  );
}

function either(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
