/**
 * Injects faults for testing: a request is held back, refused, cut off, or answered slowly.
 *
 * Outside of the upstream's stack: the endpoints have done nothing, so no breaker, no latency and no outlier detection hears
 * of it, and no retry hides it. Inside the fallback, which can be tried in this way. Where no fault runs, the layer is one look at
 * a field; where none may be injected it does not stand in the stack at all.
 */
import {
  Body,
  type Clock,
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  type ProxyResponse,
  type Random,
  setHeader,
} from "../core/index.ts";
import { drawnMs, type Fault, type Faults } from "./fault.ts";
import { slowed } from "./slow-body.ts";
import { waitFor } from "./wait.ts";

export const FAULT_HEADER = "X-Heddle-Fault";

export interface FaultParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
}

export function injectFaults({ clock, random, faults }: FaultParts): Layer {
  function note(exchange: Exchange, { effect }: Fault): void {
    faults.count(effect.kind);
    exchange.injected = exchange.injected === "" ? effect.kind : `${exchange.injected}, ${effect.kind}`;
  }

  async function injected(
    exchange: Exchange,
    drawn: readonly Fault[],
    next: Handler,
  ): Promise<ProxyResponse> {
    let bytesPerSecond = Number.POSITIVE_INFINITY;
    for (const fault of drawn) {
      const { effect } = fault;
      note(exchange, fault);
      switch (effect.kind) {
        case "delay":
          await held(exchange, clock, drawnMs(effect.delayMs, random));
          break;
        case "abort":
          return refused(exchange, fault, effect.status);
        case "reset":
          return cutOff(exchange, fault);
        case "slow":
          bytesPerSecond = Math.min(bytesPerSecond, effect.bytesPerSecond);
          break;
      }
    }
    const answer = await next(exchange);
    setHeader(answer.headers, FAULT_HEADER, exchange.injected);
    if (bytesPerSecond === Number.POSITIVE_INFINITY || answer.tunnel !== undefined) return answer;
    return { ...answer, body: slowed(answer.body, bytesPerSecond, clock) };
  }

  return {
    name: "faults",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (!faults.any) return next(exchange);
        const drawn = faults.drawn(exchange, clock.recentMs, random);
        return drawn.length === 0 ? next(exchange) : injected(exchange, drawn, next);
      };
    },
  };
}

/** Not as `backoff`: the log tells the two apart. */
function held(exchange: Exchange, clock: Clock, ms: number): Promise<void> {
  return waitFor<void>(exchange, clock, "layer", (done) => {
    const timer = clock.schedule(ms, () => done());
    return () => timer.cancel();
  });
}

function refused(exchange: Exchange, { id }: Fault, status: number): ProxyResponse {
  const error = injection(id);
  exchange.blame(error);
  const said = { error: error.code, detail: id, message: error.message, requestId: exchange.requestId };
  return {
    status,
    reason: "",
    headers: [
      ...["Content-Type", "application/json", "X-Heddle-Error", error.code],
      ...[FAULT_HEADER, exchange.injected],
    ],
    body: Body.of(new TextEncoder().encode(`${JSON.stringify(said)}\n`)),
  };
}

/** An answer that is broken before its first byte: whoever writes it has nothing to say and hangs up. */
function cutOff(exchange: Exchange, { id }: Fault): ProxyResponse {
  const error = injection(id);
  exchange.blame(error);
  const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
  body.fail(error);
  return { status: error.kind.status, reason: "", headers: [], body };
}

function injection(id: string): ProxyError {
  return new ProxyError("fault_injected", `the fault ${id} was injected for testing`, { detail: id });
}
