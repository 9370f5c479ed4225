/**
 * A probe from its options: one question, its time limit and its end, whichever way it is asked.
 *
 * The limit is kept here, on the clock that is handed in, and not by the time-outs of sockets and requests: those start anew
 * with every byte, so an endpoint that drips would never be late, and they cannot be tested without waiting.
 */
import type { Clock } from "../../core/index.ts";
import { type Ask, failed } from "./ask.ts";
import { askGrpc } from "./grpc.ts";
import { askHttp } from "./http.ts";
import type { Probe, ProbeOptions, ProbeResult } from "./probe.ts";
import { askTcp } from "./tcp.ts";

/** @param timeoutMs How long one question may take, from the look-up of the name to the answer. */
export function createProbe(options: ProbeOptions, timeoutMs: number, clock: Clock): Probe {
  const ask = askFor(options);
  return (endpoint, signal) => {
    const { promise, resolve } = Promise.withResolvers<ProbeResult>();
    let over = false;
    let end: ReturnType<Ask> = () => undefined;
    const settle = (result: ProbeResult) => {
      if (over) return;
      over = true;
      timer.cancel();
      signal.removeEventListener("abort", callOff);
      end();
      resolve(result);
    };
    const callOff = () => settle(failed("called off"));
    const timer = clock.schedule(timeoutMs, () =>
      settle(end() ?? failed(`no answer within ${timeoutMs} ms`)),
    );
    signal.addEventListener("abort", callOff);
    if (signal.aborted) {
      callOff();
      return promise;
    }
    try {
      end = ask(endpoint, settle);
      // It may have told already, when there was nothing to end yet.
      if (over) end();
    } catch (thrown) {
      // Such as a path that cannot be written in a request.
      settle(failed(thrown));
    }
    return promise;
  };
}

function askFor(options: ProbeOptions): Ask {
  switch (options.type) {
    case "tcp":
      return askTcp;
    case "http":
      return askHttp(options);
    case "grpc":
      return askGrpc(options.service);
  }
}
