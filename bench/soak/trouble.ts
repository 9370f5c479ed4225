/**
 * What happens to the mesh meanwhile: faults of the network, endpoints that come and go, apps that are killed, switches that an
 * operator throws, at times and of kinds that a seed draws.
 *
 * Each thing has at most one trouble at a time and is put in order before it has the next, so what is wrong at any moment is what was
 * begun last, and everything is in order at the end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../core/index.ts";
import type { Fault } from "../../test/support/fault-injector.ts";
import type { Admin } from "../../test/support/sidecar.ts";
import { type Ground, UPSTREAMS } from "./ground.ts";
import { type Dice, diceOf } from "./kinds.ts";

/** Of the network before an app. */
const FAULTS: readonly Fault[] = [
  { kind: "delay", ms: 50 },
  { kind: "delay", ms: 1200 },
  { kind: "reset", at: "accept" },
  { kind: "reset", at: "request head" },
  { kind: "reset", at: "answer" },
  { kind: "reset", at: "middle of answer" },
  { kind: "refuse" },
  { kind: "half-open" },
  { kind: "black hole" },
  { kind: "corrupt", of: "version" },
  { kind: "slow drip", everyMs: 2, from: "head" },
  { kind: "slow drip", everyMs: 2, from: "body" },
  { kind: "partial write", of: "head" },
  { kind: "partial write", of: "body" },
];

/** Of heddle's own, for testing. */
const INJECTED = [
  "kind=delay&delay=5ms-100ms",
  "kind=abort&status=503",
  "kind=reset",
  "kind=slow&perSecond=64KiB",
];

/** What an operator looks at. */
export const PAGES = [
  "/metrics",
  "/endpoints",
  "/requests",
  "/breakers",
  "/faults",
  "/config",
  "/stack",
  "/ready",
  "/live",
  "/",
];

/** Begins something, and resolves to what puts it in order. */
type Trouble = (
  ground: Ground,
  dice: Dice,
) => Promise<{ readonly what: string; readonly end: () => Promise<unknown> }>;

const network =
  (which: number): Trouble =>
  async ({ injectors }, dice) => {
    const fault = dice.one(FAULTS);
    await injectors[which]!.become(fault);
    return { what: `network: ${fault.kind}`, end: () => injectors[which]!.become({ kind: "none" }) };
  };

/** By the thing that is in trouble. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  "network 0": network(0),
  "network 1": network(1),
  endpoints: async ({ list, addresses }, dice) => {
    // One that is always there, and each of the others by chance.
    const stays = dice.one(addresses);
    list(addresses.filter((address) => address === stays || dice.between(0, 1) === 1));
    return { what: "endpoints: some have gone", end: async () => list(addresses) };
  },
  app: async ({ apps }, dice) => {
    const app = dice.one(apps);
    await app.kill();
    return { what: "app: killed", end: () => app.start() };
  },
  retries: async ({ subject: { admin } }) => {
    await must(admin, "/retries?enabled=false", "POST");
    return { what: "switch: retries off", end: () => must(admin, "/retries?enabled=true", "POST") };
  },
  breaker: async ({ subject: { admin } }, dice) => {
    const [upstream, state] = [dice.one(UPSTREAMS), dice.one(["open", "closed"])];
    const set = (to: string) => must(admin, `/breakers?upstream=${upstream}&state=${to}&for=10s`, "POST");
    await set(state);
    return { what: `switch: breakers ${state}`, end: () => set("auto") };
  },
  "route breaker": async ({ subject: { admin } }) => {
    const set = (to: string) => must(admin, `/breakers?route=limited&state=${to}&for=10s`, "POST");
    await set("open");
    return { what: "switch: a route's breaker open", end: () => set("auto") };
  },
  injected: async ({ subject: { admin } }, dice) => {
    const fault = dice.one(INJECTED);
    const added = await must(
      admin,
      `/faults?${fault}&share=20%25&for=10s&upstream=${dice.one(UPSTREAMS)}`,
      "POST",
    );
    const { id } = JSON.parse(added) as { id: string };
    return {
      what: `injected: ${/kind=(\w+)/.exec(fault)![1]}`,
      end: () => must(admin, `/faults?id=${id}`, "DELETE"),
    };
  },
  "log level": async ({ subject: { admin } }) => {
    await must(admin, "/log-level?level=error", "POST");
    return { what: "switch: log level", end: () => must(admin, "/log-level?level=info", "POST") };
  },
};

const NOT_FOUND = 404;

/** What an operator does, which must succeed. */
async function must(admin: Admin, path: string, method = "GET"): Promise<string> {
  const { status, text } = await admin.ask(path, method);
  // An endpoint may have gone since it was listed, and a fault may have ended of itself.
  if (status >= 400 && status !== NOT_FOUND) throw new Error(`${method} ${path}: ${status} ${text}`);
  return text;
}

export interface Troubles {
  /** How often each has happened. */
  readonly happened: ReadonlyMap<string, number>;
  /** How often pages were read. */
  readonly pagesRead: number;
  /** Begins no more, and resolves when everything is in order. Throws what an operator was refused. */
  end(): Promise<void>;
}

/** @param everyMs how long each thing is left in order, and in trouble, in the mean */
export function makeTrouble(ground: Ground, random: Random, everyMs: number): Troubles {
  const dice = diceOf(random);
  const ending = new AbortController();
  const happened = new Map<string, number>();
  let pagesRead = 0;
  const pause = (meanMs: number) =>
    sleep(dice.between(meanMs / 4, meanMs * 1.75), undefined, { signal: ending.signal }).catch(() => {});
  const troubled = async (begin: Trouble) => {
    await pause(everyMs);
    while (!ending.signal.aborted) {
      const { what, end } = await begin(ground, dice);
      happened.set(what, (happened.get(what) ?? 0) + 1);
      await pause(everyMs / 2);
      await end();
      await pause(everyMs);
    }
  };
  const looking = async () => {
    while (!ending.signal.aborted) {
      await must(ground.subject.admin, dice.one(PAGES));
      pagesRead++;
      await pause(500);
    }
  };
  const all = Promise.all([...Object.values(TROUBLES).map(troubled), looking()]);
  // Told by whoever ends them.
  all.catch(() => {});
  return {
    happened,
    get pagesRead() {
      return pagesRead;
    },
    async end() {
      ending.abort();
      await all;
    },
  };
}
