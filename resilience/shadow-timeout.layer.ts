/**
 * A shorter time limit that is tried: what it would have ended is noted with the request, and nothing is.
 *
 * Beside the limit that holds, and not a mode of it: a limit that is evaluated only would leave requests without one. It looks at the
 * clock when the answer has come, so it needs no timer. What would have become of the request then, such as another
 * attempt, it cannot know.
 */
import { type Clock, type Exchange, type Handler, type Layer, watch } from "../core/index.ts";

/**
 * @param shadowMs from the end of the request, or its head where that is all, to the head of the answer
 * @param code what a caller would get: `deadline_exceeded` where the layer stands around all attempts, `attempt_timeout` around one
 */
export function shadowTimeout(
  clock: Clock,
  shadowMs: number,
  code: "deadline_exceeded" | "attempt_timeout",
): Layer {
  return {
    name: "shadow-timeout",
    wrap(next: Handler): Handler {
      return (exchange: Exchange) => {
        const { body } = exchange;
        let sinceMs = code === "deadline_exceeded" ? exchange.arrivedAtMs : clock.recentMs;
        if (body !== undefined && !body.complete) {
          // An answer that does not wait for the whole request is not late.
          sinceMs = Number.POSITIVE_INFINITY;
          body.onClosed(() => {
            sinceMs = clock.now();
          });
        }
        const judge = () => {
          if (clock.now() - sinceMs > shadowMs) exchange.wouldRefuse(code);
        };
        return watch(next, exchange, judge, judge);
      };
    },
  };
}
