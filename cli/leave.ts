/**
 * `heddle leave`: tells a running sidecar that its app is about to end. For preStop hooks.
 *
 * Peers are told to go elsewhere, and the sidecar goes on until SIGTERM. A native sidecar of Kubernetes gets that when the app has ended. An
 * ordinary container gets it at the same time as the app: there the hook waits, so that the app has its way out while it finishes.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { parseDuration } from "../config/index.ts";
import { adminUrl } from "./admin-url.ts";
import { type Arguments, UsageError } from "./command.ts";
import { pause } from "./pause.ts";

const LEAVE_MS = 10_000;
const LOOK_AGAIN_MS = 200;

/** @returns 0 when peers know, 1 when the sidecar does not answer; it has waited in either case */
export async function leave({ options }: Arguments): Promise<number> {
  const url = adminUrl(options["admin"], "/leave");
  const wait = options["wait"];
  const waitMs = wait === undefined ? 0 : parseDuration(String(wait));
  if (waitMs === undefined)
    throw new UsageError(`--wait: expected a duration such as 10s, got ${JSON.stringify(wait)}`);
  const until = options["until-closed"];
  const app = until === undefined ? undefined : portOf(String(until));
  const over = new AbortController();
  const time = pause(waitMs, over.signal);
  const gone = app === undefined || waitMs === 0 ? time : Promise.race([time, closed(app, over.signal)]);
  const [code] = await Promise.all([tell(url, AbortSignal.timeout(LEAVE_MS)), gone]);
  over.abort();
  return code;
}

async function tell(url: URL, signal: AbortSignal): Promise<number> {
  try {
    const answer = await fetch(url, { method: "POST", signal });
    process.stdout.write(await answer.text());
    return answer.ok ? 0 : 1;
  } catch (thrown) {
    process.stderr.write(`heddle: no answer from ${url.host}: ${(thrown as Error).message}\n`);
    return 1;
  }
}

interface Port {
  readonly host: string;
  readonly port: number;
}

function portOf(given: string): Port {
  const url = URL.parse(`http://${given}`);
  if (url === null || url.host !== given || url.port === "")
    throw new UsageError(
      `--until-closed: expected an address such as 127.0.0.1:3000, got ${JSON.stringify(given)}`,
    );
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) };
}

/** Resolves when nobody listens there, or when that is not of interest any more. */
async function closed(app: Port, over: AbortSignal): Promise<void> {
  while (!over.aborted && (await listens(app, over))) await pause(LOOK_AGAIN_MS, over);
}

async function listens({ host, port }: Port, over: AbortSignal): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    // An address that swallows packets answers nothing for minutes.
    await once(socket, "connect", { signal: over });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
