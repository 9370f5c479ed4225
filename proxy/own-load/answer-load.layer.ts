/**
 * Tells peers that ask how loaded the app is, and measures it from the first question on.
 *
 * Outside of telemetry: a question that asks for nothing else is no request of anybody, and there may be many. What the
 * app takes is measured here all the same, from the head of the request to that of the answer: waiting for a turn in
 * front of the app is part of its load.
 */
import { Body, type Clock, type Handler, type Layer, removeHeader } from "../../core/index.ts";
import { CALLERS_LIMIT, isEndpointFailure } from "../../resilience/index.ts";
import { asksForLoad, asksOnlyForLoad, LOAD_HEADER, loadText } from "./load-header.ts";
import type { LoadMeter } from "./load-meter.ts";

export function answerLoad(meter: LoadMeter, clock: Clock): Layer {
  const answer = (nowMs: number) => [LOAD_HEADER, loadText(meter.answer(nowMs))];
  return {
    name: "answer-load",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (asksOnlyForLoad(exchange)) {
          meter.noteAsked();
          return Promise.resolve({
            status: 204,
            reason: "No Content",
            headers: meter.isLeaving ? [] : answer(clock.recentMs),
            body: Body.empty(),
          });
        }
        const isAsked = asksForLoad(exchange);
        if (isAsked) removeHeader(exchange.headers, LOAD_HEADER);
        if (isAsked) meter.noteAsked();
        if (!meter.isAsked) return next(exchange);
        const startedAtMs = clock.recentMs;
        const before = meter.arrived();
        return next(exchange).then(
          (response) => {
            const nowMs = clock.recentMs;
            const latencyMs = nowMs - startedAtMs;
            const failed = isEndpointFailure(response.status);
            // What the app says in that field is not what peers believe.
            removeHeader(response.headers, LOAD_HEADER);
            if (isAsked && !meter.isLeaving) response.headers.push(...answer(nowMs));
            const isCallersLimit = exchange.detail === CALLERS_LIMIT;
            // The app has not been asked, or carries a tunnel from here on.
            const saysNothing = exchange.attempts === 0 && (response.status < 500 || isCallersLimit);
            if (response.status === 101 || saysNothing) meter.abandoned();
            else if (exchange.aborted !== undefined || isCallersLimit)
              meter.givenUp(before, latencyMs, nowMs);
            else if (response.body.complete) meter.completed(before, latencyMs, failed, nowMs);
            else
              response.body.onClosed((outcome) => {
                if (outcome === "ignored") meter.abandoned();
                else meter.completed(before, latencyMs, failed || outcome === "failure", clock.recentMs);
              });
            return response;
          },
          (thrown) => {
            meter.abandoned();
            throw thrown;
          },
        );
      };
    },
  };
}
