/**
 * Injects faults for testing: a request is held back, refused, cut off, or answered slowly.
 *
 * In front of a name: the endpoints have done nothing, so no breaker, no latency and no outlier detection hears
 * of it, and no retry hides it. Inside the fallback, which can be tried in this way. What waits does so inside the upstream's deadline, and
 * outside of all else that belongs to it. Where no fault runs, a layer is one look at a field; where none may be injected it does not stand in
 * the stack at all.
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
import { pause } from "./wait.ts";

export const FAULT_HEADER = "X-Heddle-Fault";

export interface FaultParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
}

/** In front of a name: what hits at once happens here, and what is preceded by a delay is taken along to `postponedFaults`. */
export function injectFaults({ clock, random, faults }: FaultParts): Layer {
  /** @param drawn not none */
  async function injected(
    exchange: Exchange,
    drawn: readonly Fault[],
    next: Handler,
  ): Promise<ProxyResponse> {
    const ending = drawn.findIndex(({ effect }) => effect.kind === "abort" || effect.kind === "reset");
    // What comes after an ending has nothing left to hit.
    const hitting = ending === -1 ? drawn : drawn.slice(0, ending + 1);
    const postponed = hitting.filter(({ effect }) => effect.kind !== "slow");
    if (postponed[0]?.effect.kind === "delay") faults.postpone(exchange, postponed);
    else if (ending !== -1) return answered(exchange, faults, hitting[ending]!)!;
    const answer = await next(exchange);
    if (ending !== -1) return answer;
    let bytesPerSecond = Number.POSITIVE_INFINITY;
    for (const fault of hitting) {
      if (fault.effect.kind !== "slow") continue;
      note(exchange, faults, fault);
      bytesPerSecond = Math.min(bytesPerSecond, fault.effect.bytesPerSecond);
    }
    setHeader(answer.headers, FAULT_HEADER, exchange.injected);
    if (bytesPerSecond === Number.POSITIVE_INFINITY || answer.tunnel !== undefined) return answer;
    return { ...answer, body: slowed(answer.body, bytesPerSecond, clock) };
  }

  return {
    name: "faults",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (!faults.any || exchange.asksForHealth) return next(exchange);
        const drawn = faults.drawn(exchange, clock.recentMs, random);
        return drawn.length === 0 ? next(exchange) : injected(exchange, drawn, next);
      };
    },
  };
}

/**
 * Inside the deadline of an upstream, which is not known in front of a name: a name may lead to several upstreams, each with a
 * limit of its own. So a request that is held back for too long is answered when its time is over, and not after the delay.
 */
export function postponedFaults({ clock, random, faults }: FaultParts): Layer {
  async function injected(
    exchange: Exchange,
    postponed: readonly Fault[],
    next: Handler,
  ): Promise<ProxyResponse> {
    for (const fault of postponed) {
      const answer = answered(exchange, faults, fault);
      if (answer !== undefined) return answer;
      // Not as a back-off: the log tells the two apart.
      if (fault.effect.kind === "delay")
        await pause(exchange, clock, "layer", drawnMs(fault.effect.delayMs, random));
    }
    return next(exchange);
  }

  return {
    name: "postponed-faults",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (!faults.any) return next(exchange);
        const postponed = faults.takePostponed(exchange);
        return postponed.length === 0 ? next(exchange) : injected(exchange, postponed, next);
      };
    },
  };
}

function note(exchange: Exchange, faults: Faults, { effect }: Fault): void {
  faults.count(effect.kind);
  exchange.injected = exchange.injected === "" ? effect.kind : `${exchange.injected}, ${effect.kind}`;
}

/** What the fault answers; undefined for one that lets the request pass. */
function answered(exchange: Exchange, faults: Faults, fault: Fault): ProxyResponse | undefined {
  note(exchange, faults, fault);
  if (fault.effect.kind === "abort") return refused(exchange, fault, fault.effect.status);
  return fault.effect.kind === "reset" ? cutOff(exchange, fault) : undefined;
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
