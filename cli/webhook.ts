/**
 * `heddle webhook`: the server that puts sidecars into pods as they are created. It goes on until SIGTERM or SIGINT; a second one ends it at once.
 */
import { isIP } from "node:net";
import { parseDuration } from "../config/index.ts";
import { Webhook, type WebhookOptions } from "../kubernetes/index.ts";
import { systemClock } from "../proxy/index.ts";
import { processLog } from "../telemetry/index.ts";
import { type Arguments, UsageError } from "./command.ts";
import { injectOptions } from "./inject-options.ts";

/** @returns 0 when it was asked to end and did, 1 when it could not start */
export async function webhook({ options }: Arguments): Promise<number> {
  const log = processLog("info");
  const server = new Webhook(webhookOptions(options), systemClock, log.log);
  try {
    const addresses = await server.start();
    log.log.info({ ...addresses, pid: process.pid }, "ready");
    void log.flush();
  } catch (thrown) {
    process.stderr.write(`heddle: could not start: ${(thrown as Error).message}\n`);
    return 1;
  }
  const ended = Promise.withResolvers<void>();
  let asked = false;
  const onSignal = (signal: NodeJS.Signals) => {
    log.log.info({ signal }, asked ? "asked to end again; ending at once" : "asked to end");
    if (asked) ended.resolve();
    else void server.stop().then(ended.resolve);
    asked = true;
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  await ended.promise;
  server.destroy();
  await log.flush();
  // A socket that a peer keeps half open must not hold the process.
  process.exit(0);
}

function webhookOptions(options: Arguments["options"]): WebhookOptions {
  const text = (name: string) => String(options[name] ?? "");
  for (const name of ["certificate", "key"])
    if (text(name) === "") throw new UsageError(`--${name}: expected the name of a file in PEM`);
  const host = options["host"] === undefined ? undefined : text("host");
  if (host !== undefined && isIP(host) === 0)
    throw new UsageError(`--host: expected an IP address, got ${JSON.stringify(host)}`);
  const lingerMs = parseDuration(text("linger"));
  if (lingerMs === undefined)
    throw new UsageError(`--linger: expected a duration such as 5s, got ${JSON.stringify(text("linger"))}`);
  return {
    policy: {
      inject: injectOptions(options),
      pods: oneOf(options, "inject", ["all", "asked"]),
      onFault: oneOf(options, "on-fault", ["deny", "allow"]),
      onFailure: oneOf(options, "on-failure", ["deny", "allow"]),
    },
    listen: { host, port: portOf(options, "port") },
    health: { host, port: portOf(options, "health-port") },
    certificate: text("certificate"),
    key: text("key"),
    lingerMs,
  };
}

function oneOf<const T extends string>(options: Arguments["options"], name: string, words: readonly T[]): T {
  const word = words.find((allowed) => allowed === options[name]);
  if (word === undefined)
    throw new UsageError(`--${name}: expected ${words.join(" or ")}, got ${JSON.stringify(options[name])}`);
  return word;
}

/** 0 takes a free port. */
function portOf(options: Arguments["options"], name: string): number {
  const text = String(options[name]);
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535))
    throw new UsageError(`--${name}: expected a port from 0 to 65535, got ${JSON.stringify(options[name])}`);
  return port;
}
