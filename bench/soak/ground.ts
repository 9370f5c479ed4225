/**
 * What the soak stands on: apps that can be killed, a network in bad order before some of them, a file that says who is there, and
 * one sidecar with all that heddle does for a request switched on.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Teardown } from "../../test/support/apps.ts";
import { type FaultInjector, startFaultInjector } from "../../test/support/fault-injector.ts";
import { freePorts } from "../../test/support/free-ports.ts";
import type { AccessLine } from "./rules.ts";
import { type Subject, startSubject } from "./subject.ts";

const APPS = 4;
/** Of the apps, so many are reached through a network in bad order alone. */
const BEHIND_INJECTORS = 2;

/** The names by which callers call, each with a policy of its own. */
export const UPSTREAMS = ["shop", "books", "tight"] as const;

export interface Ground {
  readonly subject: Subject;
  readonly apps: readonly AppProcess[];
  readonly injectors: readonly FaultInjector[];
  /** Every endpoint, as the file names them in quiet. */
  readonly addresses: readonly string[];
  /** Tells the sidecar, by its file, who is there. */
  list(addresses: readonly string[]): void;
  /** Requests that must not be repeated and were delivered more than once. */
  duplicates(): readonly string[];
}

export interface AppProcess {
  readonly port: number;
  /** As a machine that loses its power. */
  kill(): Promise<void>;
  /** Comes back on the same port. */
  start(): Promise<void>;
}

export async function prepare(t: Teardown, onAccess: (line: AccessLine) => void): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-soak-ground-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const deliveries = join(folder, "deliveries");
  writeFileSync(deliveries, "");
  const apps: AppProcess[] = [];
  for (const port of await freePorts(APPS)) {
    const app = appAt(t, port, deliveries);
    await app.start();
    apps.push(app);
  }
  const injectors = await Promise.all(
    apps.slice(-BEHIND_INJECTORS).map((app, seed) => startFaultInjector(t, app, { seed })),
  );
  const direct = apps.slice(0, -BEHIND_INJECTORS).map(({ port }) => `127.0.0.1:${port}`);
  const addresses = [...direct, ...injectors.map(({ address }) => address)];
  const endpoints = join(folder, "endpoints.yaml");
  const list = (those: readonly string[]) => {
    writeFileSync(`${endpoints}.new`, JSON.stringify(those));
    renameSync(`${endpoints}.new`, endpoints);
  };
  list(addresses);
  const subject = await startSubject(t, configuration(endpoints), onAccess);
  return { subject, apps, injectors, addresses, list, duplicates: () => repeated(deliveries) };
}

function appAt(t: Teardown, port: number, deliveries: string): AppProcess {
  let child: ChildProcess | undefined;
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  };
  t.teardown(kill);
  return {
    port,
    kill,
    async start() {
      child = fork(fileURLToPath(new URL("./app.ts", import.meta.url)), [String(port), deliveries]);
      const died = once(child, "exit").then(() => {
        throw new Error(`the app on port ${port} ended before it was ready`);
      });
      died.catch(() => {});
      await Promise.race([once(child, "message"), died]);
    },
  };
}

function repeated(deliveries: string): string[] {
  const seen = new Set<string>();
  const twice: string[] = [];
  for (const id of readFileSync(deliveries, "utf8").trimEnd().split("\n")) {
    if (seen.has(id)) twice.push(id);
    seen.add(id);
  }
  return twice;
}

/** Times that are short, so that each of them passes often in a few minutes. */
function configuration(endpoints: string): object {
  const usual = {
    from: [{ file: endpoints }],
    follow: "always",
    upgrades: ["websocket"],
    timeouts: { connect: "250ms", attempt: "1s", request: "3s", idle: "2s", tunnelIdle: "5s" },
    outliers: { interval: "1s", ejection: { base: "1s", max: "3s" } },
    breaker: { openFor: "500ms", openForMax: "2s", window: "2s" },
  };
  return {
    outbound: { listen: "127.0.0.1:0" },
    inbound: { listen: "127.0.0.1:0" },
    admin: { listen: "127.0.0.1:0", faults: true },
    upstreams: {
      shop: usual,
      books: { ...usual, hedge: { after: "p95", ratio: "10%" }, retries: { attempts: 1 } },
      tight: {
        ...usual,
        upgrades: [],
        limits: { requests: 16, pending: 16, queueTimeout: "100ms", adaptive: { enabled: true, minimum: 4 } },
        balancing: { algorithm: "leastRequest" },
      },
    },
    routes: [
      {
        name: "limited",
        match: { host: "limited" },
        to: [{ upstream: "shop" }],
        rateLimits: [{ requests: 5, per: "1s" }],
        breaker: { minimumRequests: 5, openFor: "500ms", openForMax: "2s", window: "2s" },
      },
    ],
  };
}
