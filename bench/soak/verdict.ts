/**
 * The rules that a soak is held to, stated before it is run, and whether each holds.
 *
 * What is counted must agree exactly. Memory cannot, so its rules say how much a leak would be:
 *
 * - Alive after a collection, in quiet: 4 MiB more at most. A million requests that each left a byte would be a quarter of that; so would ten
 *   thousand callers that went away and each left a hundred. What may grow is code that is compiled late and series of metrics.
 * - RSS under load, over the last two thirds of the run: less than 32 bytes per request. The smallest object that V8 keeps, with the slot that
 *   keeps it, takes more, so one object for each request would be seen.
 * - RSS in quiet, after a collection: 32 MiB more at most: the three parts of 8 MiB of the young generation, which are there or not, and some
 *   for pages of the allocator that are half empty.
 */
import type { Findings } from "./course.ts";
import { bytesPerRequest } from "./gauges.ts";

export interface Row {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  readonly holds: boolean;
}

const MIB = 2 ** 20;
const MOST_ALIVE_BYTES = 4 * MIB;
const MOST_BYTES_PER_REQUEST = 32;
const MOST_RESIDENT_BYTES = 32 * MIB;

/** What must agree to the last request. */
export function exactRows(found: Findings): Row[] {
  const { ledger } = found;
  return [
    none("requests whose answer and log line no rule explains", ledger.faultCount, `of ${ledger.sent}`),
    none("series of /metrics that differ from the access log", found.differences.length),
    none("lines of the log dropped", found.droppedLines),
    none("requests that must not be repeated and were delivered twice", found.duplicates.length),
    none("answers that were internal errors", ledger.internalErrors),
    none("errors in the log: exceptions, layers and pages that failed", found.errors.length),
    {
      what: "the process",
      measured: found.ended ?? "runs",
      target: "runs",
      holds: found.ended === undefined,
    },
    {
      what: "sockets, timers, permits and requests held in quiet that were not before",
      measured: found.leaked.join("; ") || "none",
      target: "none",
      holds: found.leaked.length === 0,
    },
    {
      what: "endpoints that are well again and get no requests",
      measured: found.leftOut.join("; ") || "none",
      target: "none",
      holds: found.leftOut.length === 0,
    },
  ];
}

/** What must stay within bounds. */
export function memoryRows({ before, after, samples }: Findings): Row[] {
  const lasting = samples.slice(Math.floor(samples.length / 3));
  const slope = bytesPerRequest(lasting);
  const alive = after.heap + after.external - before.heap - before.external;
  const resident = after.residentBytes - before.residentBytes;
  return [
    {
      what: "alive after a collection, more than before",
      measured: `${mib(alive)} (${mib(before.heap + before.external)} before)`,
      target: `at most ${mib(MOST_ALIVE_BYTES)}`,
      holds: alive <= MOST_ALIVE_BYTES,
    },
    {
      what: "RSS under load, slope over the last two thirds",
      measured: `${slope.toFixed(1)} bytes per request`,
      target: `below ${MOST_BYTES_PER_REQUEST}`,
      holds: slope < MOST_BYTES_PER_REQUEST,
    },
    {
      what: "RSS in quiet after a collection, more than before",
      measured: `${mib(resident)} (${mib(before.residentBytes)} before)`,
      target: `at most ${mib(MOST_RESIDENT_BYTES)}`,
      holds: resident <= MOST_RESIDENT_BYTES,
    },
  ];
}

function none(what: string, count: number, of = ""): Row {
  return { what, measured: `${count} ${of}`.trimEnd(), target: "0", holds: count === 0 };
}

export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
