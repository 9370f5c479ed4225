/**
 * One way to wait: until something happens, until the request's deadline, or until the request is aborted,
 * whichever comes first, and leaving nothing behind in any case.
 */
import type { Clock, Exchange, ProxyError, Timer, Wait } from "../core/index.ts";
import { deadlineExceeded } from "./deadline.ts";

/**
 * Suspends the exchange. `begin` starts what is waited for and returns how to undo it; it is undone on
 * every ending but its own, and told of the reason.
 * @throws ProxyError deadline_exceeded, or the reason of the abort
 */
export function waitFor<T>(
  exchange: Exchange,
  clock: Clock,
  on: Wait,
  begin: (done: (value: T) => void, fail: (reason: ProxyError) => void) => (reason: ProxyError) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let ended = false;
    let undo: ((reason: ProxyError) => void) | undefined;
    let deadline: Timer | undefined;
    const end = () => {
      ended = true;
      deadline?.cancel();
      exchange.resume(clock.now());
    };
    const fail = (reason: ProxyError) => {
      if (ended) return;
      end();
      undo?.(reason);
      reject(reason);
    };
    const done = (value: T) => {
      if (ended) return;
      end();
      resolve(value);
    };
    const nowMs = clock.now();
    exchange.suspend(on, nowMs, fail);
    if (ended) return;
    const bound = () => {
      deadline?.cancel();
      const untilMs = Math.min(exchange.deadlineMs, exchange.waitDeadlineMs);
      if (ended || !Number.isFinite(untilMs)) return;
      deadline = clock.schedule(untilMs - clock.now(), () =>
        fail(deadlineExceeded(exchange, `the deadline passed while waiting for ${on}`)),
      );
    };
    bound();
    // While the request's body arrives its deadline is not known yet, or only its caller's; it comes with the body's end.
    if (exchange.body?.complete === false) exchange.body.onClosed(bound);
    undo = begin(done, fail);
  });
}

/** Waits for a time. */
export function pause(exchange: Exchange, clock: Clock, on: Wait, delayMs: number): Promise<void> {
  return waitFor<void>(exchange, clock, on, (done) => {
    const timer = clock.schedule(delayMs, () => done());
    return () => timer.cancel();
  });
}
