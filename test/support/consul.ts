/**
 * A real Consul agent for tests, in development mode: one process on loopback ports of its own, without data on disk,
 * so that one that is killed and started again has forgotten everything, which is the hardest of its restarts.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Teardown } from "./apps.ts";
import { eventually } from "./eventually.ts";
import { freePorts } from "./free-ports.ts";

const FETCHED = fileURLToPath(new URL("../../.consul/usr/bin/consul", import.meta.url));
const START_MS = 20_000;

/** The binary: CONSUL_BIN, or `consul` on the path, or what .ci/fetch-consul has brought. */
const binary: string | undefined = [
  process.env["CONSUL_BIN"] ?? "",
  ...(process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "consul")),
  FETCHED,
].find(isExecutable);

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return file !== "";
  } catch {
    return false;
  }
}

const MISSING = "there is no Consul here; .ci/fetch-consul brings one, or set CONSUL_BIN to the binary";

/**
 * For the `skip` of tests that need Consul: false, or why they cannot run. Where CI is set nothing is skipped, and
 * they fail instead.
 */
export const withoutConsul: false | string =
  binary === undefined && process.env["CI"] !== "true" ? MISSING : false;

/**
 * The binary, for tests that run it themselves.
 * @throws Error when there is none
 */
export function consulBinary(): string {
  if (binary === undefined) throw new Error(MISSING);
  return binary;
}

let extraPorts: boolean | undefined;

/** Arguments that keep a newer agent from opening one port more by itself; an old one knows nothing of them. */
export function withoutExtraPorts(): string[] {
  extraPorts ??= spawnSync(consulBinary(), ["agent", "-help"]).stdout.includes("-grpc-tls-port");
  return extraPorts ? ["-grpc-tls-port", "-1"] : [];
}

const PORTS = ["http", "server", "serf-lan", "serf-wan", "dns", "grpc"] as const;

export class Consul {
  /** `http://127.0.0.1:port`, the same after a restart. */
  readonly address: string;
  readonly datacenter: string;
  readonly #ports: readonly number[];
  #child: ChildProcess | undefined;

  constructor(ports: readonly number[], datacenter = "dc1") {
    this.#ports = ports;
    this.datacenter = datacenter;
    this.address = `http://127.0.0.1:${ports[0]}`;
  }

  /**
   * Starts the agent, or starts it again; resolves when it can be asked and told anything.
   * @throws Error when it ends instead
   */
  async start(): Promise<void> {
    const args = ["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-log-level", "err"];
    args.push("-node", "test", ...PORTS.flatMap((port, i) => [`-${port}-port`, String(this.#ports[i])]));
    args.push(...withoutExtraPorts(), "-datacenter", this.datacenter);
    const child = spawn(consulBinary(), args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    await untilStarted(child, "have a leader", () => this.#leads());
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  /** SIGSTOP: it neither answers nor hangs up. SIGCONT ends that. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  /** Asks the agent, such as `ask("/v1/agent/services")`. */
  async ask<Body = unknown>(path: string): Promise<Body> {
    return (await (await this.#fetch(path, "GET")).json()) as Body;
  }

  /** Tells the agent, such as `tell("/v1/agent/service/register", { Name: "orders", Port: 1 })`. */
  async tell(path: string, body?: object): Promise<void> {
    await this.#fetch(path, "PUT", body === undefined ? null : JSON.stringify(body));
  }

  async #fetch(path: string, method: string, body: string | null = null): Promise<Response> {
    const response = await fetch(this.address + path, { method, body, headers: { connection: "close" } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  }

  /** Makes the two datacenters find each other; resolves when each can ask the other. */
  async joinOver(wan: Consul): Promise<void> {
    await this.tell(`/v1/agent/join/127.0.0.1:${wan.#ports[PORTS.indexOf("serf-wan")]}?wan=1`);
    const reaches = async (from: Consul, to: Consul) =>
      (await from.ask<unknown[]>(`/v1/catalog/nodes?dc=${to.datacenter}`)).length > 0;
    await eventually(
      "the datacenters to reach each other",
      async () => (await reaches(this, wan)) && (await reaches(wan, this)),
    );
  }

  /** Whether it is a whole cluster: a leader, and this node in its catalogue. */
  async #leads(): Promise<boolean> {
    return (await this.ask<unknown[]>("/v1/health/node/test")).length > 0;
  }
}

/**
 * Until an agent that was just started does what it was started for.
 * @throws Error with what it has written, at once when it ends
 */
export async function untilStarted(
  child: ChildProcess,
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  let said = "";
  for (const output of [child.stdout!, child.stderr!])
    output.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-2000);
    });
  const ended = new AbortController();
  child.once("exit", () => ended.abort());
  const started = eventually(
    `consul to ${what}`,
    async () => ended.signal.aborted || (await holds()),
    START_MS,
  );
  await started.catch((cause) => {
    throw new Error(`${cause.message}: ${said}`, { cause });
  });
  if (ended.signal.aborted) throw new Error(`consul ended: ${said}`);
}

/** Starts an agent that ends with the test. */
export async function startConsul(t: Teardown, datacenter = "dc1"): Promise<Consul> {
  const consul = new Consul(await freePorts(PORTS.length), datacenter);
  t.teardown(() => consul.kill());
  await consul.start();
  return consul;
}
