/**
 * Admission to an upstream. The permit is held until the answer has been handed over to its last byte: a slow
 * download occupies the upstream just as a slow computation does.
 *
 * A limit that adapts is told how long a request took until the head of its answer, where that says something of the
 * upstream: an answer to the first attempt that is no failure, or no answer in time, which would have taken longer. A failure
 * may come at once, and a second attempt has waited for the first.
 *
 * In shadow the same books are kept of requests that do not wait: one that would have waited takes its place in the queue, and its
 * permit when its turn would have come, while it is under way already.
 */
import {
  asProxyError,
  type Clock,
  criticalityRank,
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  type ProxyResponse,
  watch,
} from "../core/index.ts";
import type { ConcurrencyLimit } from "./concurrency-limit.ts";
import { deadlineExceeded } from "./deadline.ts";
import { Turn } from "./turn-queue.ts";
import { waitFor } from "./wait.ts";

/** Peers then ask others at once, and this one later: what it lacks is not there a moment after. The least that can be said. */
const LATER: readonly string[] = ["Retry-After", "1"];

export function concurrencyLimit(clock: Clock, limit: ConcurrencyLimit): Layer {
  const { queueMs } = limit.options;
  const release = () => limit.release(clock.recentMs);
  const overflow = () =>
    new ProxyError("overflow", "the upstream's limits are reached and its queue is full", { headers: LATER });

  function turn(exchange: Exchange): Promise<void> {
    return waitFor<void>(exchange, clock, "queue", (done, fail) => {
      const leave = () => {
        late?.cancel();
        limit.leave(mine);
      };
      const mine = new Turn(
        criticalityRank(exchange),
        () => {
          late?.cancel();
          done();
        },
        () => fail(overflow()),
      );
      const late = limit.tryQueue(mine, clock.recentMs) ? tooLate(fail) : undefined;
      if (late === undefined) fail(overflow());
      return leave;
    });
  }

  function queueInShadow(exchange: Exchange): void {
    let holds = false;
    const mine = new Turn(
      criticalityRank(exchange),
      () => {
        holds = true;
        late.cancel();
      },
      () => {
        late.cancel();
        exchange.wouldRefuse("overflow");
      },
    );
    if (!limit.tryQueue(mine, clock.recentMs)) {
      exchange.wouldRefuse("overflow");
      return;
    }
    const late = clock.schedule(queueMs, () => {
      limit.leave(mine);
      exchange.wouldRefuse("queue_timeout");
    });
    exchange.onSettled(() => {
      late.cancel();
      if (holds) release();
      else limit.leave(mine);
    });
  }

  function tooLate(fail: (reason: ProxyError) => void) {
    return clock.schedule(queueMs, () =>
      fail(new ProxyError("queue_timeout", `it had no turn within ${queueMs} ms`, { headers: LATER })),
    );
  }

  return {
    name: "limit",
    wrap(next: Handler): Handler {
      const admitted = limit.adaptive === undefined ? next : observed(next, clock, limit);
      async function queued(exchange: Exchange): Promise<ProxyResponse> {
        await turn(exchange);
        exchange.onSettled(release);
        // Timers are late: a turn that comes after the deadline is another's.
        if (clock.now() >= exchange.deadlineMs)
          throw deadlineExceeded(exchange, "the deadline passed while waiting for queue");
        return admitted(exchange);
      }
      if (limit.options.mode === "shadow")
        return (exchange) => {
          if (exchange.asksForHealth) return next(exchange);
          if (limit.tryAcquire(clock.recentMs)) exchange.onSettled(release);
          else queueInShadow(exchange);
          return admitted(exchange);
        };
      return (exchange) => {
        // Few at a time, which was seen to further out.
        if (exchange.asksForHealth) return next(exchange);
        if (!limit.tryAcquire(clock.recentMs)) return queued(exchange);
        exchange.onSettled(release);
        return admitted(exchange);
      };
    },
  };
}

function observed(next: Handler, clock: Clock, limit: ConcurrencyLimit): Handler {
  return (exchange) => {
    const startedAtMs = clock.recentMs;
    return watch(
      next,
      exchange,
      ({ status }) => {
        if (exchange.attempts !== 1 || status >= 500 || status === 429) return;
        const nowMs = clock.recentMs;
        limit.observe(nowMs - startedAtMs, nowMs);
      },
      (thrown) => {
        if (!OUT_OF_TIME.has(asProxyError(thrown).code)) return;
        const nowMs = clock.now();
        limit.observeLate(nowMs - startedAtMs, nowMs);
      },
    );
  };
}

const OUT_OF_TIME: ReadonlySet<string> = new Set(["attempt_timeout", "deadline_exceeded"]);
