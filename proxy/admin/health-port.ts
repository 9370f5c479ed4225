/**
 * The health port: what the kubelet may know, and nothing else.
 *
 * Not the admin port on another address: the kubelet asks from outside of the pod, and so could everybody else drain the sidecar or read
 * its configuration. Here are only paths that show, and those that the configuration names, so that nobody is led to another port
 * of the app by asking for it.
 */
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Config } from "../../config/index.ts";
import { LatestConnections } from "../../core/index.ts";
import { createProbe } from "../../discovery/index.ts";
import type { ListenAddress } from "../downstream/index.ts";
import { systemClock } from "../system.ts";

// As in server.ts, for the memory.
const { createServer } = process.getBuiltinModule("node:http");

export interface HealthSubject {
  readonly phase: string;
  /** The configuration of the port, and where the app is. */
  readonly config: Pick<Config, "health" | "service">;
}

/** Callers at once; the kubelet is one, and what it asks takes a moment. Nobody may keep it out: it ends a pod that does not answer. */
const MOST_CONNECTIONS = 256;
const APP_ADDRESS = "127.0.0.1";

interface Answer {
  readonly status: number;
  readonly text: string;
}

type Ask = () => Answer | Promise<Answer>;

export class HealthPort {
  readonly #server: Server;
  readonly #pages: ReadonlyMap<string, Ask>;
  readonly #connections = new LatestConnections(MOST_CONNECTIONS);
  readonly #ended = new AbortController();

  constructor(subject: HealthSubject) {
    this.#pages = pagesOf(subject, this.#ended.signal);
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", (socket) => this.#connections.admit(socket));
  }

  /** @throws Error with the system's code, such as EADDRINUSE */
  async start(listen: ListenAddress): Promise<ListenAddress> {
    this.#server.listen(listen.port, listen.host);
    await once(this.#server, "listening");
    const bound = this.#server.address();
    if (bound === null || typeof bound === "string") throw new Error("the health port does not listen");
    return { host: bound.address, port: bound.port };
  }

  stop(): void {
    this.#ended.abort();
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#connections.asked(request.socket);
    const { status, text } = await this.#answer(request);
    response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" });
    response.end(`${text}\n`, () => this.#connections.answered(request.socket));
  }

  #answer({ method, url = "" }: IncomingMessage): Answer | Promise<Answer> {
    const page = this.#pages.get(url.split("?", 1)[0]!);
    if (page === undefined) return { status: 404, text: "no such path" };
    if (method !== "GET" && method !== "HEAD") return { status: 405, text: `expected GET, got ${method}` };
    return page();
  }
}

function pagesOf(subject: HealthSubject, signal: AbortSignal): Map<string, Ask> {
  const pages = new Map<string, Ask>();
  const { health, service } = subject.config;
  for (const { path, port, probe: options, timeoutMs } of health?.probes ?? []) {
    const probe = createProbe(options, timeoutMs, systemClock);
    const app = { address: service?.address ?? APP_ADDRESS, port };
    // Whoever asks while the app is being asked hears the same answer: so it is asked no more often than one after the other.
    let asking: Promise<Answer> | undefined;
    pages.set(path, () => {
      asking ??= probe(app, signal).then(({ passing, note }) => {
        asking = undefined;
        return { status: passing ? 200 : 503, text: note };
      });
      return asking;
    });
  }
  pages.set("/live", () => ({ status: 200, text: "live" }));
  pages.set("/ready", () => ({ status: subject.phase === "ready" ? 200 : 503, text: subject.phase }));
  return pages;
}
