/**
 * `heddle run`: one sidecar until a signal. The first SIGTERM or SIGINT drains; a second one ends at once.
 */
import { ConfigError } from "../config/index.ts";
import { giveBackStartupMemory, Sidecar } from "../proxy/index.ts";
import { type ProcessLog, processLog } from "../telemetry/index.ts";
import { type Arguments, UsageError } from "./command.ts";
import { readConfig } from "./read-config.ts";

export async function run({ options }: Arguments): Promise<number> {
  if (typeof options["config"] !== "string") throw new UsageError("expected --config with a file");
  let sidecar: Sidecar;
  let log: ProcessLog;
  try {
    const config = await readConfig(options["config"]);
    log = processLog(config.telemetry.logLevel);
    // Before there are workers, which have a copy of the configuration each.
    giveBackStartupMemory();
    sidecar = new Sidecar(config, log);
    surviveFaults(log);
    endOnSignals(sidecar, log);
    const addresses = await sidecar.start();
    log.log.info({ ...addresses, pid: process.pid }, "ready");
    // Whoever waits for this record must not wait for the log's buffer.
    void log.flush();
  } catch (thrown) {
    if (thrown instanceof ConfigError) process.stderr.write(`${thrown.message}\n`);
    else process.stderr.write(`heddle: could not start: ${(thrown as Error).message}\n`);
    return 1;
  }
  await sidecar.stopped;
  await log.flush();
  // Nothing is left to do; a socket that a peer keeps half open must not hold the process.
  process.exit(0);
}

function endOnSignals(sidecar: Sidecar, log: ProcessLog): void {
  let asked = false;
  // Only a second signal is impatience: a drain may have been asked for on the admin port before, as by a preStop hook.
  const onSignal = (signal: NodeJS.Signals) => {
    if (!asked) {
      asked = true;
      log.log.info({ signal }, "asked to end");
      void sidecar.drain();
    } else {
      log.log.warn({ signal }, "asked to end again; ending at once");
      void sidecar.destroy();
    }
  };
  process.on("SIGTERM", onSignal);
  // Node would end at once; whoever sends this expects a reload, and must not lose the traffic for it.
  process.on("SIGHUP", () =>
    log.log.warn({}, "reloading is not built yet; the configuration stays as it is"),
  );
  process.on("SIGINT", onSignal);
}

/** A fault that no layer caught must be seen, and must not take the traffic of everyone else with it. */
function surviveFaults(log: ProcessLog): void {
  process.on("uncaughtException", (err) => log.log.error({ err }, "a fault outside of any request"));
  process.on("unhandledRejection", (err) => log.log.error({ err }, "a rejection that nobody awaited"));
}
