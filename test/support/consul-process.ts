/**
 * One agent of a cluster: the process, which can be killed, stopped and started again with or without its data, and
 * the door at which it is asked, which may be a port, a port with certificates, or a Unix socket. What makes the agents
 * a cluster is in consul-cluster.ts.
 *
 * It is asked by `node:http`, one connection a question, because `fetch` knows neither Unix sockets nor certificates,
 * and because a connection that is kept would be one of those that a killed agent resets later.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { type IncomingHttpHeaders, type IncomingMessage, request as plain } from "node:http";
import { request as secure } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { consulBinary, untilStarted, withoutExtraPorts } from "./consul.ts";
import type { Namespace } from "./namespace.ts";

/** Longer than an agent holds a question back while there is no leader. */
const ANSWER_MS = 15_000;

/** How an agent is asked. */
export interface Doors {
  /** Scheme, host and port; the host means nothing with a socket. */
  readonly url: string;
  readonly socket?: string;
  readonly tls?: Certificates;
}

/** An authority, and a certificate with its key: PEM texts, or the names of their files. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Asking {
  readonly method?: string;
  readonly body?: object | undefined;
  /** In place of the management token; "" for none. */
  readonly token?: string;
  /** In place of those that the agent wants to see; no `ca` is what the system trusts. */
  readonly tls?: Partial<Certificates>;
  /** Ends the question; without it, one that is not answered in time is given up. */
  readonly signal?: AbortSignal;
  /** Called when the question's connection stands, and never when there is none. */
  readonly onConnect?: () => void;
}

export interface AgentAnswer {
  readonly status: number;
  /** X-Consul-Index; NaN when there is none. */
  readonly index: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface AgentParts {
  readonly files: { readonly config: string; readonly data: string };
  readonly doors: Doors;
  readonly token: string | undefined;
  readonly namespace: Namespace | undefined;
}

/** The test's process may end before its tests do. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class ConsulAgentProcess {
  /** As CONSUL_HTTP_ADDR has it: `http://127.0.0.1:port`, `https://…`, `unix:///path`; the same after a restart. */
  readonly address: string;
  readonly #parts: AgentParts;
  #child: ChildProcess | undefined;

  constructor(parts: AgentParts) {
    const { url, socket } = parts.doors;
    this.#parts = parts;
    this.address = socket === undefined ? url : `unix://${socket}`;
  }

  /** Of the agent, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts it, or starts it again; resolves when it answers, whatever it says. It need not be part of a cluster then:
   * await `Cluster.whole` for that.
   * @throws Error when it ends instead
   */
  async start({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    const { files, namespace } = this.#parts;
    if (empty) {
      await rm(files.data, { recursive: true, force: true });
      await mkdir(files.data);
    }
    const args = ["agent", "-config-file", files.config, ...withoutExtraPorts()];
    const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
    const child =
      namespace === undefined
        ? spawn(consulBinary(), args, { stdio })
        : namespace.run(consulBinary(), args, { stdio });
    this.#child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    await untilStarted(child, "answer", async () => {
      await this.request("/v1/agent/self");
      return true;
    });
  }

  /** kill -9, also when it is stopped. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !isRunning(child)) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  /** SIGSTOP: it neither answers nor hangs up, from when this resolves. SIGCONT ends that. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    this.#child?.kill(signal);
    // It has many threads, and each ends what it is at before it stops.
    if (signal === "SIGSTOP") while (!(await isStopped(this.pid))) await pause(1);
  }

  /**
   * Asks, such as `ask("/v1/agent/services")`.
   * @throws Error when the answer is not 2xx
   */
  async ask<Body = unknown>(path: string, asking: Asking = {}): Promise<Body> {
    const { status, text } = await this.request(path, asking);
    if (status >= 300) throw new Error(`${path}: ${status} ${text}`);
    // Some of what is told is answered with nothing.
    return (text === "" ? undefined : JSON.parse(text)) as Body;
  }

  /**
   * Tells, such as `tell("/v1/agent/service/register", { Name: "orders", Port: 1 })`.
   * @throws Error when the answer is not 2xx
   */
  tell<Body = unknown>(path: string, body?: object, method = "PUT"): Promise<Body> {
    return this.ask<Body>(path, { method, body });
  }

  /**
   * Asks for the answer as it is, whatever its status.
   * @throws Error when there is no whole answer
   */
  async request(path: string, asking: Asking = {}): Promise<AgentAnswer> {
    const { doors, token: management } = this.#parts;
    const { method = "GET", body, token = management ?? "", tls = doors.tls } = asking;
    const signal = asking.signal ?? AbortSignal.timeout(ANSWER_MS);
    const url = new URL(path, doors.url);
    const headers = token === "" ? {} : { "x-consul-token": token };
    const common = { method, headers, signal, agent: false };
    const question =
      url.protocol === "https:"
        ? secure(url, { ...common, ...tls })
        : plain(url, { ...common, ...(doors.socket === undefined ? {} : { socketPath: doors.socket }) });
    // What breaks after the head is told by the body.
    question.on("error", () => {});
    const { onConnect } = asking;
    if (onConnect !== undefined) question.once("socket", (socket) => socket.once("connect", onConnect));
    question.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(question, "response")) as [IncomingMessage];
    let text = "";
    for await (const part of response.setEncoding("utf8")) text += part;
    const index = Number(response.headers["x-consul-index"] ?? Number.NaN);
    return { status: response.statusCode ?? 0, index, headers: response.headers, text };
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Whether all its threads are; where /proc is not, nobody can tell. */
async function isStopped(pid: number | undefined): Promise<boolean> {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return true;
  try {
    const stats = (await readdir(tasks)).map((thread) => readFile(`${tasks}/${thread}/stat`, "utf8"));
    return (await Promise.all(stats)).every((stat) => stat.includes(") T "));
  } catch {
    // A thread has ended in between.
    return false;
  }
}
