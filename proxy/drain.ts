/**
 * Leaving in good order. The order is the point: peers stop choosing us, then we take nothing new from them,
 * then what they began is finished, and only then the app loses its way out, because finishing needs it.
 *
 * Where this process has started the app, the app is asked to end when nothing more comes in, and its way out stays open
 * until it has ended. Where somebody else ends it, nobody says when that is, and a quiet moment has to do.
 */
import { type Clock, delay, type Log } from "../core/index.ts";
import type { Listener } from "./downstream/index.ts";

/** The end of a sidecar, as a data plane hears of it. */
export interface Leaving {
  readonly graceMs: number;
  /** Resolves when the registry has been told, or could not be. */
  readonly deregistered: Promise<void>;
  /** Undefined where the app is not ours to end. */
  readonly app?: AppsEnd | undefined;
}

/** How an app that this process has started is ended with it. */
export interface AppsEnd {
  /** Told once: nothing more will be asked of the app. */
  readonly letGo: () => void;
  /** Resolves when the app has ended. */
  readonly ended: Promise<void>;
}

export interface DrainParts extends Leaving {
  readonly clock: Clock;
  readonly log: Log;
  readonly inbound: readonly Listener[];
  readonly outbound: readonly Listener[];
}

/** Callers with unused connections learn of the drain with their next request; those without one are not waited for long. */
const UNUSED_CONNECTIONS_MS = 5_000;
/** The app is taken to be done when it has called nobody for so long. */
const QUIET_MS = 500;
/** How long callers are given to hear from the registry that this instance leaves, before its port closes. */
const HEARD_MS = 500;

/** Over which part of the grace that is left callers in tunnels are asked to leave, one by one. */
const TUNNELS_SHARE = 0.5;
/** When the app's tunnels are asked to leave at the latest, as a share of the grace. */
const LAST_CALL = 0.75;
/** When the app is asked to end at the latest, whatever is still asked of it, as a share of the grace: it needs time, too. */
const APPS_SHARE = 0.5;

/** Resolves when everything has finished, or when the grace is over. */
export async function drain(parts: DrainParts): Promise<void> {
  const { clock, graceMs, log } = parts;
  const startedAtMs = clock.now();
  let over = false;
  const { promise: grace, resolve: endGrace } = Promise.withResolvers<void>();
  const graceTimer = clock.schedule(graceMs, () => {
    over = true;
    endGrace();
  });
  const within = (work: Promise<unknown>) => Promise.race([work, grace]);
  log.info({ graceMs }, "draining");

  const spreadMs = () => (graceMs - (clock.now() - startedAtMs)) * TUNNELS_SHARE;
  for (const listener of parts.inbound) listener.beginDrain(spreadMs());
  // Where peers stay to the end, the app's own tunnels must not wait for them to be told.
  const lastCall = clock.schedule(graceMs * LAST_CALL, () => {
    for (const listener of parts.outbound) listener.leaveTunnels(spreadMs());
  });
  await within(parts.deregistered);
  if (parts.inbound.length > 0) await within(delay(clock, Math.min(HEARD_MS, graceMs / 10)));
  for (const listener of parts.inbound) listener.stopAccepting();
  const unused = clock.schedule(Math.min(UNUSED_CONNECTIONS_MS, graceMs / 2), () => {
    for (const listener of parts.inbound) listener.closeIdle();
  });
  const inboundEnded = Promise.all(
    parts.inbound.map((listener) => listener.until(() => listener.connections === 0)),
  );
  const { app } = parts;
  if (app === undefined) await within(inboundEnded);
  else {
    const leftMs = graceMs * APPS_SHARE - (clock.now() - startedAtMs);
    await Promise.race([inboundEnded, app.ended, delay(clock, Math.max(0, leftMs))]);
    app.letGo();
    await within(app.ended);
  }
  unused.cancel();

  lastCall.cancel();
  for (const listener of parts.outbound) listener.beginDrain(spreadMs());
  while (!over) {
    const busy = app === undefined ? parts.outbound : [...parts.inbound, ...parts.outbound];
    await within(Promise.all(busy.map((listener) => listener.until(() => listener.exchanges.size === 0))));
    if (app !== undefined) break;
    const served = begun(parts.outbound);
    await within(delay(clock, Math.min(QUIET_MS, graceMs / 10)));
    const unread = parts.outbound.some((listener) => listener.unread);
    if (begun(parts.outbound) === served && inFlight(parts.outbound) === 0 && !unread) break;
  }
  graceTimer.cancel();
  const abandoned = inFlight([...parts.inbound, ...parts.outbound]);
  const tookMs = Math.round(clock.now() - startedAtMs);
  if (abandoned > 0) log.warn({ tookMs, abandoned }, "the grace is over; requests are abandoned");
  else log.info({ tookMs }, "drained");
}

function begun(listeners: readonly Listener[]): number {
  return listeners.reduce((total, listener) => total + listener.begun, 0);
}

function inFlight(listeners: readonly Listener[]): number {
  return listeners.reduce((total, listener) => total + listener.exchanges.size, 0);
}
