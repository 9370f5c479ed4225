/**
 * Values with units, as people write them: 250ms, 2s, 50%, 64KiB, 127.0.0.1:8080.
 *
 * A bare number is refused where a unit belongs: "timeout: 5" has meant seconds to one reader and milliseconds
 * to the next. Each unit is one valibot schema whose message says what is expected; the parser puts what came
 * behind it.
 */
import * as v from "valibot";

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const DURATION_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration with its unit; the output is in milliseconds. */
export function duration(minimumMs = 1) {
  const expected =
    minimumMs === 0
      ? "a duration such as 0s, 250ms, 2s or 1m"
      : "a duration greater than 0 such as 250ms, 2s or 1m";
  return v.pipe(
    v.string(expected),
    v.regex(DURATION, expected),
    v.transform((text) => {
      const [, amount, unit] = DURATION.exec(text)!;
      return Number(amount) * DURATION_MS[unit!]!;
    }),
    v.minValue(minimumMs, expected),
    v.maxValue(24 * 3_600_000, "a duration of at most 24h"),
  );
}

const SIZE = /^(\d+)(B|KiB|MiB|GiB)$/;
const SIZE_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A size with its unit; the output is in bytes. */
export function size(maximumBytes: number) {
  const expected = "a size such as 512B, 64KiB or 1MiB";
  return v.pipe(
    v.string(expected),
    v.regex(SIZE, expected),
    v.transform((text) => {
      const [, amount, unit] = SIZE.exec(text)!;
      return Number(amount) * SIZE_BYTES[unit!]!;
    }),
    v.maxValue(maximumBytes, `a size of at most ${maximumBytes / 1024}KiB`),
  );
}

const PERCENT = /^(\d+(?:\.\d+)?)%$/;

/** A share in percent; the output is a fraction. */
export function percent(minimum: number, maximum: number) {
  const expected = `a share from ${minimum}% to ${maximum}%, such as 50%`;
  return v.pipe(
    v.string(expected),
    v.regex(PERCENT, expected),
    v.transform((text) => Number(PERCENT.exec(text)![1]) / 100),
    v.minValue(minimum / 100, expected),
    v.maxValue(maximum / 100, expected),
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

export function text(expected: string) {
  return v.pipe(v.string(expected), v.minLength(1, expected));
}

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/** `host:port` or `[IPv6]:port`; the output is both apart. */
export function address(minimumPort: 0 | 1) {
  const expected =
    minimumPort === 0
      ? "an address such as 127.0.0.1:15001 or [::1]:15001, port 0 for any"
      : "an address such as 10.0.0.1:8080, db.internal:8080 or [::1]:8080";
  return v.pipe(
    v.string(expected),
    v.regex(ADDRESS, expected),
    v.transform((given) => splitAddress(given)),
    v.check(({ port }) => port >= minimumPort && port <= 65_535, expected),
  );
}

/** The text must have passed the pattern above. */
function splitAddress(given: string): { readonly host: string; readonly port: number } {
  const [, ipv6, host, port] = ADDRESS.exec(given)!;
  return { host: (ipv6 ?? host)!, port: Number(port) };
}
