/**
 * The app that is asked for too much, and who stands before it: nobody, HAProxy, and heddle in several ways.
 *
 * Each contender has an app process of its own, so that none inherits the line of the one before.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Teardown } from "../../test/support/apps.ts";
import { freePorts } from "../../test/support/free-ports.ts";
import { startSidecar } from "../../test/support/sidecar.ts";
import type { Processes } from "../load/processes.ts";
import { ready } from "../scale/ground.ts";

/** What the app can do. */
export interface Work {
  readonly workers: number;
  /** The mean of what a worker takes for a request, in milliseconds. */
  readonly meanMs: number;
}

export const WORK: Work = { workers: 10, meanMs: 20 };
/** How long one may wait in the queue of whoever has one: the default of `limits.queueTimeout`. */
export const QUEUE_TIMEOUT_MS = 1000;

/** What there is to start things with, and a core for what is pinned to one. */
export interface Ground extends Teardown {
  readonly processes: Processes;
  readonly core: number;
}

export interface Contender {
  /** As the table calls it. */
  readonly label: string;
  /** Whether the targets are its own. */
  readonly isJudged: boolean;
  /** @returns the port to call */
  start(ground: Ground, appPort: number): Promise<number>;
}

export const HOST = "web";

export const CONTENDERS: readonly Contender[] = [
  { label: "the app alone", isJudged: false, start: async (_, appPort) => appPort },
  { label: "HAProxy, `maxconn`, `timeout queue`, priority classes", isJudged: false, start: haproxy },
  { label: "heddle, limits as they are by default", isJudged: false, start: inbound({}) },
  { label: "heddle inbound, `limits.requests`", isJudged: true, start: inbound({ requests: WORK.workers }) },
  {
    label: "heddle inbound, `limits.adaptive`",
    isJudged: true,
    start: inbound({ adaptive: { enabled: true } }),
  },
  {
    label: "heddle outbound, `limits.adaptive`",
    isJudged: true,
    start: outbound({ adaptive: { enabled: true } }),
  },
];

export async function startApp(t: Teardown): Promise<number> {
  const child = fork(fileURLToPath(new URL("./app.ts", import.meta.url)), [JSON.stringify(WORK)]);
  t.teardown(() => child.kill());
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the app ended (${code}) before it was ready`);
  });
  ended.catch(() => {});
  const [port] = (await Promise.race([once(child, "message"), ended])) as [number];
  return port;
}

function inbound(limits: object): Contender["start"] {
  return async (t, appPort) => {
    const { addresses } = await startSidecar(t, {
      service: { name: HOST, port: appPort },
      inbound: { listen: "127.0.0.1:0", limits },
      telemetry: { accessLog: false },
    });
    return addresses.inbound!.port;
  };
}

function outbound(limits: object): Contender["start"] {
  return async (t, appPort) => {
    const { addresses } = await startSidecar(t, {
      upstreams: { [HOST]: { endpoints: [`127.0.0.1:${appPort}`], limits } },
      telemetry: { accessLog: false },
    });
    return addresses.outbound.port;
  };
}

async function haproxy({ processes, core }: Ground, appPort: number): Promise<number> {
  const [port = 0] = await freePorts(1);
  const file = join(processes.folder, `haproxy-${port}.cfg`);
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-keep-alive
  option abortonclose
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout queue ${QUEUE_TIMEOUT_MS}ms
frontend callers
  bind 127.0.0.1:${port}
  http-request set-priority-class int(-10) if { req.hdr(x-heddle-criticality) critical }
  http-request set-priority-class int(10) if { req.hdr(x-heddle-criticality) sheddable }
  default_backend app
backend app
  server app 127.0.0.1:${appPort} maxconn ${WORK.workers}
`,
  );
  const running = processes.start("HAProxy", ["haproxy", "-db", "-q", "-f", file], core);
  await ready(running, `http://127.0.0.1:${port}/`);
  return port;
}
