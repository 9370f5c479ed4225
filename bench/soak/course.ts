/**
 * The course of a soak: warm up with trouble, be quiet, look; carry load for long with trouble, be quiet, look again.
 *
 * The warm-up has the same trouble as the run, so that what is made at the first of its kind (code, series of metrics, breakers) is made
 * before the first look. All that is sent, from the first request on, is accounted for.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Teardown } from "../../test/support/apps.ts";
import { sfc32 } from "../simulate/random.ts";
import { Callers } from "./caller.ts";
import { held, leftOut, quiet, returned, type Sample } from "./gauges.ts";
import { type Ground, prepare } from "./ground.ts";
import { Asks } from "./kinds.ts";
import { Ledger } from "./ledger.ts";
import { type LiveBytes, liveBytes } from "./live-heap.ts";
import { type Kept, keepRate, saturate, type Traffic } from "./load.ts";
import { makeTrouble } from "./trouble.ts";

export interface Course {
  readonly seed: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Requests per second; undefined finds out how many go, and takes half of them. */
  readonly rate?: number | undefined;
  /** How long each thing is left in order, and in trouble, in the mean. */
  readonly troubleEveryMs: number;
  /** What is given back later is taken for leaked. */
  readonly mostQuietMs: number;
  readonly say: (line: string) => void;
}

/** What was measured. */
export interface Findings {
  readonly course: Course;
  /** Requests per second: as many as go, and as many as were sent. */
  readonly saturated: number | undefined;
  readonly rate: number;
  readonly kept: Kept;
  readonly ledger: Ledger;
  /** Between log and metrics. */
  readonly differences: readonly string[];
  readonly droppedLines: number;
  readonly duplicates: readonly string[];
  readonly errors: readonly string[];
  readonly ended: string | undefined;
  readonly happened: ReadonlyMap<string, number>;
  readonly pagesRead: number;
  /** What is held in quiet after the run and was not before it. */
  readonly leaked: readonly string[];
  /** Endpoints that got no requests in the end, although all are well again. */
  readonly leftOut: readonly string[];
  /** Under load, every `SAMPLE_EVERY_MS`. */
  readonly samples: readonly Sample[];
  /** In quiet, when all that is garbage has been collected. */
  readonly before: Memory;
  readonly after: Memory;
}

export interface Memory extends LiveBytes {
  readonly residentBytes: number;
}

/** From one seed, chance for each of these. */
const STREAMS = { asks: 11, arrivals: 12, trouble: 13 } as const;

const SATURATING = { callers: 64, seconds: 9 };
const SAMPLE_EVERY_MS = 2_000;
/** At the end of warm-up and run: until every endpoint is in use again, so that both looks see the same. */
const CALM = { perSecond: 100, seconds: 2 };
const LOG_MS = 30_000;

export async function soak(t: Teardown, course: Course): Promise<Findings> {
  const { seed, say, mostQuietMs } = course;
  const ledger = new Ledger();
  const ground = await prepare(t, (line) => ledger.logged(line));
  const { subject } = ground;
  const callers = new Callers(subject.port);
  const traffic: Traffic = { callers, asks: new Asks(sfc32(seed, STREAMS.asks)), ledger };
  const arrivals = sfc32(seed, STREAMS.arrivals);
  const trouble = sfc32(seed, STREAMS.trouble);
  const inspector = await subject.inspector();

  const saturated =
    course.rate === undefined ? await saturate(traffic, SATURATING.callers, SATURATING.seconds) : undefined;
  const rate = course.rate ?? Math.floor(saturated! / 2);
  say(`${saturated === undefined ? "" : `${Math.round(saturated)} requests/s go; `}sending ${rate}/s`);

  const carry = async (seconds: number) => {
    const troubles = makeTrouble(ground, trouble, course.troubleEveryMs);
    const kept = await keepRate(traffic, rate, seconds, arrivals);
    await troubles.end();
    let out: readonly string[];
    const untilMs = performance.now() + mostQuietMs;
    do {
      await keepRate(traffic, CALM.perSecond, CALM.seconds, arrivals);
      out = await leftOut(subject);
    } while (out.length > 0 && performance.now() < untilMs);
    callers.hangUp();
    return { kept, troubles, out };
  };
  const look = async (): Promise<Memory> => ({
    ...(await liveBytes(inspector)),
    residentBytes: subject.residentBytes(),
  });

  await carry(course.warmUpSeconds);
  await quiet(subject, mostQuietMs);
  const before = await look();
  const start = await held(subject);
  say(`quiet after the warm-up, ${ledger.sent} requests`);

  const samples: Sample[] = [];
  const sampling = setInterval(
    () => void sample(ground, ledger).then((one) => samples.push(one)),
    SAMPLE_EVERY_MS,
  );
  const { kept, troubles, out } = await carry(course.seconds).finally(() => clearInterval(sampling));
  const leaked = await returned(subject, start, mostQuietMs);
  say(`quiet after the run, ${ledger.sent} requests`);
  await logged(ledger);
  ledger.close();
  const after = await look();
  const { admin } = subject;
  return {
    course,
    saturated,
    rate,
    kept,
    ledger,
    differences: ledger.differences(
      await admin.series("heddle_requests_total"),
      await admin.series("heddle_attempts_total"),
    ),
    droppedLines: await admin.metric("heddle_log_lines_dropped_total"),
    duplicates: ground.duplicates(),
    errors: subject.errors,
    ended: subject.ended,
    happened: troubles.happened,
    pagesRead: troubles.pagesRead,
    leaked,
    leftOut: out,
    samples,
    before,
    after,
  };
}

async function sample({ subject }: Ground, { sent }: Ledger): Promise<Sample> {
  const residentBytes = subject.residentBytes();
  return { residentBytes, sent, held: await held(subject) };
}

/** Until the last line of the access log has come, which is written out once a second at the latest. */
async function logged(ledger: Ledger): Promise<void> {
  for (let waitedMs = 0; ledger.awaited > 0 && waitedMs < LOG_MS; waitedMs += 100) await sleep(100);
}
