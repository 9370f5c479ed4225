/**
 * A guard whose source, instances and time are moved by a test, and lists in short: `1 2c 3m`.
 */
import { type Endpoint, endpointKey } from "../../core/index.ts";
import type { Probe, ProbeResult } from "../../discovery/health/probe.ts";
import { Guard, type OutageOptions } from "../../discovery/outage/guard.ts";
import { LastGood } from "../../discovery/outage/last-good.ts";
import type { Instance, RegistryHealth } from "../../discovery/source.ts";
import { ManualClock, settled } from "./manual-clock.ts";
import { seededRandom } from "./seeded-random.ts";
import { type LogRecord, logInto } from "./sidecar.ts";

export const MINUTE = 60_000;
export const OPTIONS: OutageOptions = {
  keepForMs: 60 * MINUTE,
  suspiciousShare: 0.5,
  believeAfterMs: 10 * MINUTE,
};

const HEALTH: Readonly<Record<string, RegistryHealth>> = {
  "": "passing",
  w: "warning",
  c: "critical",
  m: "maintenance",
  u: "unreachable",
  o: "outside",
};

/** `1 2c 3m@1`: ports, what the registry says of them if it is not that they pass, and priorities if they are not 0. */
export function said(text: string): Instance[] {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => {
      const [, port, letter, level] = /^(\d+)(\w?)(?:@(\d+))?$/.exec(word)!;
      const at = { address: "10.0.0.1", port: Number(port), weight: 1, source: "test" };
      const priority = level === undefined ? {} : { priority: Number(level) };
      return { ...at, health: HEALTH[letter!]!, ...priority };
    });
}

export const range = (from: number, to: number, letter = "") =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}${letter}`).join(" ");

export interface Given extends Partial<OutageOptions> {
  /** What was kept from before the start. */
  readonly kept?: string;
  readonly seed?: number;
  readonly probe?: Probe;
}

export function guarded({ kept, seed = 1, probe, ...given }: Given = {}) {
  const clock = new ManualClock();
  const records: LogRecord[] = [];
  const { log } = logInto(records);
  const lastGood = new LastGood(undefined, 60 * MINUTE, { clock, wallClock: () => clock.now(), log });
  if (kept !== undefined) lastGood.remember("test", said(kept));
  /** Ports at which nobody answers. */
  const dead = new Set<number>();
  const asked: { readonly port: number; readonly atMs: number }[] = [];
  const scripted: Probe = async ({ port }): Promise<ProbeResult> => {
    asked.push({ port, atMs: clock.now() });
    return dead.has(port) ? { passing: false, note: "ECONNREFUSED" } : { passing: true, note: "connected" };
  };
  const told: string[] = [];
  let endpoints: readonly Endpoint[] = [];
  let nothing = 0;
  /** Those that were known and not well whenever only they had changed, as `3 4`. */
  const unwell: string[] = [];
  const unwellNow = () =>
    guard.unwell
      .map(({ port }) => port)
      .sort((a, b) => a - b)
      .join(" ");
  const guard: Guard = new Guard(
    { ...OPTIONS, ...given },
    {
      name: "test",
      clock,
      random: seededRandom(seed),
      log,
      probe: probe ?? scripted,
      lastGood,
      onChange: (now, lastResort) => {
        endpoints = now;
        told.push(
          now
            .map((endpoint) => `${endpoint.port}${lastResort.has(endpointKey(endpoint)) ? "*" : ""}`)
            .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
            .join(" "),
        );
      },
      onUnwell: () => unwell.push(unwellNow()),
      onNothing: () => nothing++,
    },
  );
  const pass = async (ms: number) => {
    // Small steps where something may depend on them, as each lets promises run.
    for (let left = ms; left > 0; ) {
      const step = Math.min(left, ms <= 5_000 ? 10 : 250);
      clock.advance(step);
      await settled();
      left -= step;
    }
  };
  return {
    clock,
    guard,
    records,
    lastGood,
    dead,
    asked,
    /** What was told, as `1 2 3*`; an asterisk marks a last resort. */
    told,
    pass,
    used: () => told.at(-1),
    unwell,
    unwellNow,
    endpoints: () => endpoints,
    nothing: () => nothing,
    logged: (words: string) => records.filter(({ msg }) => msg.includes(words)).length,
    async says(text: string, thenMs = 100) {
      guard.list(said(text));
      await settled();
      await pass(thenMs);
    },
    async isSilent(thenMs = 0) {
      guard.silent("connect ECONNREFUSED");
      await settled();
      await pass(thenMs);
    },
    why: (port: number) => guard.view().instances.find(({ address }) => address === `10.0.0.1:${port}`),
  };
}
