/**
 * What signals ask of a sidecar: to end in good order, to end at once, or nothing, where they are the app's affair.
 *
 * Two signals are not always two wishes. npm passes on to its child the Ctrl-C that the terminal has told both of; a closing
 * terminal and a service manager may speak at the same moment. What comes within half a second of the first is the same wish,
 * and only what comes later is impatience.
 *
 * While the app has not been started nobody can say what a signal would mean to it, and alone it would end by it: SIGHUP by a
 * terminal that closes, SIGQUIT or SIGUSR1 by whoever stops it. So it ends the start. Kept for later it would meet an app that
 * has no handler yet; dropped it would leave a sidecar behind.
 */
import { isatty } from "node:tty";
import type { Sidecar } from "../proxy/index.ts";
import type { ProcessLog } from "../telemetry/index.ts";
import type { App } from "./app.ts";
import { pause } from "./pause.ts";

export interface Signalled {
  readonly sidecar: Sidecar;
  readonly log: ProcessLog;
  readonly app: App | undefined;
  /** Whether a signal has asked it to end. */
  asked: boolean;
}

/** Passed on as they are. SIGHUP and SIGQUIT may stand for an end of the terminal, which is for the app to judge. */
const APPS_AFFAIR = ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;
/** How far apart two signals may be that are one wish. */
const SAME_WISH_MS = 500;

export function heedSignals(running: Signalled): void {
  const { log, app } = running;
  let impatient = false;
  // Only a second signal is impatience: a drain may have been asked for on the admin port before, as by a preStop hook.
  const end = (signal: NodeJS.Signals) => {
    if (!running.asked) {
      running.asked = true;
      void pause(SAME_WISH_MS).then(() => {
        impatient = true;
      });
      app?.askedBy(signal, signal === "SIGINT" && isatty(0));
      log.log.info({ signal }, "asked to end");
      void running.sidecar.drain();
    } else if (impatient) {
      log.log.warn({ signal }, "asked to end again; ending at once");
      void running.sidecar.destroy();
    } else log.log.info({ signal }, "asked to end twice in a moment, which is one wish");
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  if (app !== undefined) {
    for (const signal of APPS_AFFAIR)
      process.on(signal, () => {
        if (app.hasBegun) app.signal(signal);
        else if (signal !== "SIGWINCH") end(signal);
      });
    return;
  }
  const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  process.on("SIGHUP", (signal) => {
    // A terminal that has hung up is none any more.
    if (terminals.length > 0 && !terminals.some((descriptor) => isatty(descriptor))) end(signal);
    // Node would end at once; whoever sends this expects a reload, and must not lose the traffic for it.
    else log.log.warn({}, "reloading is not built yet; the configuration stays as it is");
  });
}
