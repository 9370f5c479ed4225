/**
 * What a process holds at one moment, and whether it has given back what it took.
 *
 * In quiet, everything that is counted returns to what it was: exactly, since a connection, a timer or a permit is held or is not. Memory
 * is judged apart, by its slope and by what is alive.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Subject } from "./subject.ts";

/** By name: open files, timers, and gauges of /metrics. */
export type Held = Readonly<Record<string, number>>;

/** Gauges of what requests and connections take; of each with its labels. */
const GAUGES = new Set([
  "heddle_requests_in_flight",
  "heddle_connections",
  "heddle_pool_connections",
  "heddle_pending_requests",
  "heddle_permits_held",
  "heddle_timers",
  "nodejs_active_resources",
]);

/** What the endpoints page says that is taken of each endpoint. */
interface EndpointsPage {
  readonly [upstream: string]: {
    readonly endpoints: readonly { readonly address: string; readonly inFlight?: number }[];
  };
}

export async function held({ admin, openFiles }: Subject): Promise<Held> {
  // Before the page is asked for, which takes a connection itself.
  const found: Record<string, number> = { "open files": openFiles() };
  const { text } = await admin.ask("/metrics");
  for (const line of text.split("\n")) {
    const [name = "", value] = line.split(/ (?=\S+$)/);
    if (GAUGES.has(name.split("{", 1)[0]!)) found[name] = Number(value);
  }
  let inFlight = 0;
  for (const { endpoints } of Object.values(await admin.json<EndpointsPage>("/endpoints")))
    for (const endpoint of endpoints) inFlight += endpoint.inFlight ?? 0;
  found["attempts in flight at endpoints"] = inFlight;
  return found;
}

/** What is held now and was not before, in words. Fewer is fine: an endpoint that nobody has called yet holds nothing. */
export function moreThan(before: Held, now: Held): string[] {
  return Object.entries(now).flatMap(([name, count]) =>
    count <= (before[name] ?? 0) ? [] : [`${name}: ${count}, before ${before[name] ?? 0}`],
  );
}

const LOOK_EVERY_MS = 500;

/**
 * Waits until nothing moves: twice in a row the same, no request and no connection.
 * @throws Error when that is not so in time
 */
export async function quiet(subject: Subject, mostMs: number): Promise<Held> {
  const untilMs = performance.now() + mostMs;
  let before = await held(subject);
  for (;;) {
    await sleep(LOOK_EVERY_MS);
    const now = await held(subject);
    const isStill = JSON.stringify(now) === JSON.stringify(before) && isIdle(now);
    if (isStill || performance.now() > untilMs) return now;
    before = now;
  }
}

/** As `quiet`, until nothing is held that was not before. @returns what is still held at the end of the time */
export async function returned(subject: Subject, start: Held, mostMs: number): Promise<string[]> {
  const untilMs = performance.now() + mostMs;
  for (;;) {
    const more = moreThan(start, await held(subject));
    if (more.length === 0 || performance.now() > untilMs) return more;
    await sleep(LOOK_EVERY_MS);
  }
}

function isIdle(now: Held): boolean {
  return Object.entries(now).every(
    ([name, count]) => count === 0 || !/^heddle_(?:requests|connections|pool|pending|permits)/.test(name),
  );
}

/**
 * Endpoints that get no requests, in words: their breaker has not closed, or they are ejected. With calm traffic there is none in a
 * while, unless a probe's permit was never given back.
 */
export async function leftOut({ admin }: Subject): Promise<string[]> {
  const breakers = await admin.series("heddle_breaker_state");
  const endpoints = await admin.series("heddle_endpoints");
  return [
    ...breakers.filter(({ labels }) => labels["state"] !== "closed"),
    ...endpoints.filter(({ labels }) => labels["state"] !== "available"),
  ].flatMap(({ labels, value }) =>
    value === 0 ? [] : [`endpoints of ${labels["upstream"]}, ${labels["state"]}: ${value}`],
  );
}

/** One look at the process under load. */
export interface Sample {
  readonly residentBytes: number;
  /** Requests sent until then. */
  readonly sent: number;
  readonly held: Held;
}

/**
 * The slope of memory over requests by Theil and Sen, in bytes per request: the median of the slopes between all pairs.
 * Not least squares, which one heap that grew at the end would tilt; this one does not move until three tenths of the samples are out of line.
 */
export function bytesPerRequest(samples: readonly Sample[]): number {
  const slopes: number[] = [];
  for (const [i, a] of samples.entries())
    for (const b of samples.slice(i + 1))
      if (b.sent > a.sent) slopes.push((b.residentBytes - a.residentBytes) / (b.sent - a.sent));
  slopes.sort((a, b) => a - b);
  return slopes[slopes.length >> 1] ?? 0;
}
