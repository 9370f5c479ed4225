/**
 * An upstream that chooses in virtual time: who is chosen is asked, or requests are sent whose endpoints answer what a test says.
 *
 * All layers of an upstream and of its endpoints are the real ones; where the way out would begin is the test. How long a breaker
 * stays open is opossum's own timer, which takes no clock: a file that needs it to run out calls `holdTimers` first, and
 * then `pass` moves it together with the clock.
 */
import { mock } from "node:test";
import type { Test } from "tap";
import { parseConfig } from "../../config/index.ts";
import {
  type Endpoint,
  type Exchange,
  type Handler,
  type Log,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { endpoint as endpointStack, type Lane, upstream as upstreamStack } from "../../proxy/stack.ts";
import { createStackParts } from "../../proxy/stack-parts.ts";
import { type Situation, Upstream, type UpstreamOptions } from "../../proxy/upstream/index.ts";
import type { BreakerState } from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "./exchange.ts";
import { ManualClock, settled } from "./manual-clock.ts";
import { seededRandom } from "./seeded-random.ts";

/** The options that a file gives whose upstream has these settings. */
export function optionsOf(settings: string, outbound = "{}"): UpstreamOptions {
  const file = `outbound: ${outbound}\nupstreams: { orders: { endpoints: [127.0.0.1:1], ${settings} } }`;
  return parseConfig(file, "heddle.yaml", {}).upstreams["orders"]!.options;
}

/** What an endpoint answers; throws, or rejects, where no answer comes. */
export type Answer = (address: string, exchange: Exchange) => Promise<ProxyResponse>;

interface Choosing {
  readonly options?: UpstreamOptions;
  readonly situation?: Situation;
  readonly seed?: number;
  readonly answer?: Answer;
}

export type World = ReturnType<typeof choosing>;

const STEP_MS = 10;

let areTimersHeld = false;

/** From now on the timers of this process stand still until `pass` moves them. */
export function holdTimers(): void {
  mock.timers.enable({ apis: ["setTimeout"] });
  areTimersHeld = true;
}

/** Nobody is there. */
export const refuse: Answer = () => Promise.reject(new ProxyError("connect_failed", "refused"));

export function choosing(
  t: Pick<Test, "teardown">,
  endpoints: readonly Endpoint[],
  { options, situation, seed = 1, answer = async () => responseOf() }: Choosing = {},
) {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const heard = new Set<() => void>();
  const tell = () => {
    for (const listener of heard) listener();
  };
  const log: Log = { debug() {}, info: tell, warn: tell, error() {} };
  const parts = createStackParts({ clock, random, log });
  const upstream = new Upstream(
    "orders",
    options ?? optionsOf("balancing: { algorithm: random }"),
    { clock, random, log, situation },
    (of, to) => endpointStack(parts, of, to, (exchange) => answer(to.endpoint.address, exchange)),
  );
  upstream.update(endpoints);
  t.teardown(() => upstream.stop());
  const of = (address: string) => upstream.endpoints.find(({ endpoint }) => endpoint.address === address)!;
  const choose = (exchange = exchangeOf(), mayRetry = true) =>
    upstream.choice.endpointFor(exchange, mayRetry).endpoint.address;
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= STEP_MS) {
      const step = Math.min(STEP_MS, left);
      clock.advance(step);
      if (areTimersHeld) mock.timers.tick(step);
    }
  };
  return {
    clock,
    upstream,
    of,
    choose,
    pass,
    /** The way of a request to this upstream. */
    way: (lane?: Lane): Handler => upstreamStack(parts, upstream, lane),
    /** What has become of a request: its status, or the code of the error. Time passes while it waits. */
    async send(handle: Handler, exchange = exchangeOf({ nowMs: clock.now() })): Promise<number | string> {
      let outcome: number | string | undefined;
      handle(exchange).then(
        ({ status }) => {
          outcome = status;
          exchange.settle("success", clock.now());
        },
        ({ code }: ProxyError) => {
          outcome = code;
          exchange.settle("failure", clock.now());
        },
      );
      await settled();
      for (let waitedMs = 0; outcome === undefined && waitedMs < 60_000; waitedMs += STEP_MS) {
        pass(STEP_MS);
        await settled();
      }
      return outcome ?? "nothing";
    },
    /** How many of so many requests each gets. */
    counts(requests: number, make: () => Exchange = exchangeOf): Record<string, number> {
      const counts: Record<string, number> = {};
      for (let i = 0; i < requests; i++) {
        const address = choose(make());
        counts[address] = (counts[address] ?? 0) + 1;
      }
      return counts;
    },
    /** Its breaker opens. */
    fail(address: string): void {
      const { breaker } = of(address);
      for (let i = 0; i < 5; i++) breaker.settle(breaker.admit()!, "failure");
    },
    /** The endpoints that a request is sent to which fails at each of so many. */
    attempts(exchange: Exchange, times: number): string[] {
      return Array.from({ length: times }, () => {
        const { key, endpoint } = upstream.choice.endpointFor(exchange, true);
        exchange.beginAttempt(key);
        return endpoint.address;
      });
    },
    /** Resolves when its breaker has come to this state. */
    async until(address: string, state: BreakerState): Promise<void> {
      // The breaker's own timer holds no process.
      const hold = setTimeout(() => {}, 20_000);
      while (of(address).breakerState !== state)
        await new Promise<void>((resolve) => {
          const listener = () => {
            heard.delete(listener);
            resolve();
          };
          heard.add(listener);
        });
      clearTimeout(hold);
    },
  };
}

export const named = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  port: 1,
  weight: 1,
  source: "test",
  ...more,
});

export function many(prefix: string, count: number, more: (place: number) => Partial<Endpoint> = () => ({})) {
  return Array.from({ length: count }, (_, place) => named(`${prefix}${place}`, more(place)));
}

/** The requests that went to addresses with this beginning. */
export function under(counts: Record<string, number>, prefix: string): number {
  return Object.entries(counts).reduce(
    (all, [address, count]) => (address.startsWith(prefix) ? all + count : all),
    0,
  );
}

/** Within four standard errors of a share of so many requests. */
export function isAbout(
  t: Pick<Test, "ok">,
  count: number,
  share: number,
  requests: number,
  what: string,
): void {
  const error = Math.sqrt((share * (1 - share)) / requests);
  t.ok(Math.abs(count / requests - share) <= 4 * error + 1e-12, `${what}: ${count / requests} for ${share}`);
}

/** These do worse than the others for an interval. @param among whose requests end in it; all unless said otherwise */
export function eject(world: World, bad: readonly string[], among?: readonly string[]): void {
  const { clock, upstream, pass } = world;
  for (const { endpoint, watched } of upstream.endpoints) {
    if (among?.includes(endpoint.address) === false) continue;
    for (let i = 0; i < 100; i++) {
      const ending = bad.includes(endpoint.address) && i % 2 === 0 ? "failure" : "success";
      watched!.observe(ending, 10, clock.now(), clock.now());
    }
  }
  pass(10_000);
}
