/**
 * Makes what the layers are made from: of each part one that has counted nothing and decided nothing yet, but for those that are
 * given. So a part that is new is added here, and not wherever a stack is built: by a data plane, for the admin port's
 * description, by a test or by a benchmark.
 */
import { FallbackTally } from "../resilience/index.ts";
import { RequestTally } from "../telemetry/index.ts";
import { LoadMeter } from "./own-load/index.ts";
import { RouteBreakers } from "./route-breakers.ts";
import type { StackParts } from "./stack.ts";
import { TcpTally } from "./tcp-tally.ts";

/** What every stack is told: whose time, whose dice and whose log. */
type Ambient = Pick<StackParts, "clock" | "random" | "log">;

/** @param given without an access log, and without faults for testing, unless there are some here */
export function createStackParts(given: Ambient & Partial<StackParts>): StackParts {
  const { clock, random, log } = given;
  return {
    tally: new RequestTally(),
    loadMeter: new LoadMeter(),
    routeBreakers: new RouteBreakers({ clock, random, log }),
    retrySwitch: { enabled: true },
    writeAccess: undefined,
    fallbacks: new FallbackTally(),
    tcpTally: new TcpTally(),
    ...given,
  };
}
