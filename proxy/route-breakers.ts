/**
 * The breakers of routes. A route is judged by what its callers get, after all attempts: `/search` may be down while
 * `/orders` of the same endpoints is well, which no breaker of an endpoint can tell apart.
 *
 * Made with the stack of a route, which is made once; kept here by name, for the admin port and metrics.
 */
import type { Clock, Layer, Log, Random } from "../core/index.ts";
import {
  Breaker,
  type BreakerOptions,
  BreakerRotation,
  FailureRules,
  type Forced,
  routeBreaker,
} from "../resilience/index.ts";
import { type BreakerView, breakerView } from "./breaker-view.ts";
import { sayBreaker } from "./upstream/index.ts";

/** A route's breaker as the admin port shows it. */
export interface RouteBreakerView extends BreakerView {
  readonly route: string;
}

/** What an operator decides; plain values, as it is told to other threads. */
export interface BreakerCommand {
  readonly of: { readonly upstream: string; readonly endpoint: string } | { readonly route: string };
  /** `auto` gives the decision back. */
  readonly state: Forced["state"] | "auto";
  /** Until it is given back of itself, in milliseconds. */
  readonly forMs: number;
}

interface RouteBreaker {
  readonly breaker: Breaker;
  readonly rotation: BreakerRotation;
  readonly mode: BreakerOptions["mode"];
}

export interface RouteBreakersParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class RouteBreakers {
  readonly #parts: RouteBreakersParts;
  readonly #byRoute = new Map<string, RouteBreaker>();

  constructor(parts: RouteBreakersParts) {
    this.#parts = parts;
  }

  /** The layer of a route; made once per route. */
  layer(route: string, options: BreakerOptions): Layer {
    const { clock, random, log } = this.#parts;
    this.#byRoute.get(route)?.breaker.stop();
    this.#byRoute.get(route)?.rotation.stop();
    const rotation = new BreakerRotation(clock, options.windowMs);
    const breaker: Breaker = new Breaker(options, { clock, random, rotation }, (state, by) =>
      sayBreaker(log, { route }, breaker, state, by, options.mode === "shadow"),
    );
    this.#byRoute.set(route, { breaker, rotation, mode: options.mode });
    return routeBreaker(breaker, route, new FailureRules(options.failures));
  }

  /** Decides for some time what requests meet there. @param state undefined gives the decision back */
  force(route: string, state: Forced["state"] | undefined, forMs: number): void {
    this.#byRoute.get(route)?.breaker.force(state, forMs);
  }

  views(nowMs: number): RouteBreakerView[] {
    return [...this.#byRoute].map(([route, { breaker, mode }]) => ({
      route,
      ...breakerView(breaker, mode, nowMs),
    }));
  }

  stop(): void {
    for (const { breaker, rotation } of this.#byRoute.values()) {
      breaker.stop();
      rotation.stop();
    }
  }
}
