/**
 * `heddle run`: one sidecar until a signal. The first SIGTERM or SIGINT drains; a second one ends at once, see signals.ts.
 *
 * `--sidecar-for` and `--proxy-id` stand for the settings of the same names, so that a sidecar whose definition is in Consul
 * needs no file; with a file they are added to what it says.
 *
 * Behind `--` stands the app: then the sidecar lives and ends with it, see app.ts.
 */
import { ConfigError } from "../config/index.ts";
import { giveBackStartupMemory, Sidecar, type SidecarAddresses } from "../proxy/index.ts";
import { type ProcessLog, processLog } from "../telemetry/index.ts";
import { App } from "./app.ts";
import { type Arguments, UsageError } from "./command.ts";
import { type GivenSettings, inlineConfig, readConfig } from "./read-config.ts";
import { ServiceManager } from "./service-manager.ts";
import { heedSignals, type Signalled } from "./signals.ts";

export async function run({ options, command }: Arguments): Promise<number> {
  const { config: file, "sidecar-for": sidecarFor, "proxy-id": proxyId } = options;
  const told = [file, sidecarFor, proxyId, inlineConfig()];
  if (told.every((word) => word === undefined))
    throw new UsageError(
      "expected --config with a file, HEDDLE_CONFIG in the environment, or --sidecar-for with the id of a service instance",
    );
  let running: Running;
  try {
    running = await begin(file, { sidecarFor, proxyId }, command);
  } catch (thrown) {
    if (thrown instanceof ConfigError) process.stderr.write(`${thrown.message}\n`);
    else process.stderr.write(`heddle: could not start: ${(thrown as Error).message}\n`);
    return 1;
  }
  const { sidecar, log, app } = running;
  await sidecar.stopped;
  await app?.kill();
  await log.flush();
  // Nothing is left to do; a socket that a peer keeps half open must not hold the process.
  process.exit(app?.exitCode ?? 0);
}

interface Running extends Signalled {
  sidecar: Sidecar;
  readonly manager: ServiceManager;
}

/** Without a file, another sidecar may take a usual port between the look and the start: then there is another one. */
const MOST_STARTS = 4;

/** @throws ConfigError, or Error when it cannot start */
async function begin(
  file: string | boolean | undefined,
  given: Partial<GivenSettings>,
  command: readonly string[] | undefined,
): Promise<Running> {
  let running: Running | undefined;
  for (let starts = 1; ; starts++) {
    const config = await readConfig(file, given);
    // What an app writes may be data.
    const log = running?.log ?? processLog(config.telemetry.logLevel, command === undefined ? 1 : 2);
    const manager = running?.manager ?? new ServiceManager(process.env, log.log);
    const app =
      running?.app ??
      (command === undefined ? undefined : new App(command, config.shutdown.graceMs, log.log));
    // Before there are workers, which have a copy of the configuration each.
    giveBackStartupMemory();
    const sidecar = new Sidecar(config, log, process.env, app);
    void sidecar.leaving.then(() => {
      manager.stopping();
      app?.startNoMore();
    });
    if (running === undefined) {
      running = { sidecar, log, app, manager, asked: false };
      surviveFaults(log);
      heedSignals(running);
    } else running.sidecar = sidecar;
    try {
      const addresses = await sidecar.start();
      // It may have been asked to end meanwhile.
      if (sidecar.phase === "ready") {
        log.log.info({ ...addresses, pid: process.pid }, "ready");
        manager.ready(`ready, admin port at ${addresses.admin.host}:${addresses.admin.port}`);
      }
      // Whoever waits for this record must not wait for the log's buffer.
      void log.flush();
      if (app !== undefined) startBeside(running, app, addresses);
      return running;
    } catch (thrown) {
      // It may fail because it was asked to end; whether or not, nobody wants it any more.
      if (running.asked) return running;
      const { code } = thrown as NodeJS.ErrnoException;
      if (
        file !== undefined ||
        inlineConfig() !== undefined ||
        code !== "EADDRINUSE" ||
        starts === MOST_STARTS
      )
        throw thrown;
    }
  }
}

/** When it ends, whatever the reason, the sidecar does. */
function startBeside({ sidecar }: Running, app: App, addresses: SidecarAddresses): void {
  app.start(addresses);
  void app.ended.then(() => sidecar.drain());
}

/** A fault that no layer caught must be seen, and must not take the traffic of everyone else with it. */
function surviveFaults(log: ProcessLog): void {
  process.on("uncaughtException", (err) => log.log.error({ err }, "a fault outside of any request"));
  process.on("unhandledRejection", (err) => log.log.error({ err }, "a rejection that nobody awaited"));
}
