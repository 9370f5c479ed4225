/**
 * The admin port: what the sidecar is, knows and does, for people, probes and Prometheus.
 *
 * It is served by node:http, as nothing here is hot. It listens on loopback unless told otherwise; what only
 * shows is GET, what changes something is POST, so that no link and no prefetch can change anything.
 */
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { LOG_LEVELS, type LogLevel } from "../../telemetry/index.ts";
import type { ListenAddress } from "../downstream/index.ts";
import { breakersView, forceBreakers } from "./breakers-page.ts";
import { addFault, endFaults, type FaultsAnswer } from "./faults-page.ts";
import { type AdminSubject, endpointsView, redactedConfig, requestsView, stackView } from "./views.ts";

// Not `import { createServer }`: that asks node:http for all it exports, and with WebSocket and EventSource for its fetch
// client, which nothing here uses and which weighs 15 MB.
const { createServer } = process.getBuiltinModule("node:http");

interface Page {
  readonly method: "GET" | "POST";
  /** What the page is for, shown at `/`. */
  readonly about: string;
  readonly answer: Answering;
  /** What else may be done there. */
  readonly also?: Readonly<Record<string, Answering>>;
}

/** @param text the body of the request; empty for GET */
type Answering = (sidecar: AdminSubject, url: URL, text: string) => Promise<Answer> | Answer;

/** Of a request to this port; a longer one is nobody's in good faith. */
const MOST_TEXT_BYTES = 64 * 1024;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const json = (value: unknown, status = 200): Answer => ({
  status,
  type: "application/json",
  text: `${JSON.stringify(value, null, 2)}\n`,
});
const plain = (text: string, status = 200): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  text: `${text}\n`,
});

/** To add a page: a line here, and a row in docs/admin.md, which a test compares with this table. */
export const ADMIN_PAGES: Readonly<Record<string, Page>> = {
  "/live": { method: "GET", about: "200 while the process runs", answer: () => plain("live") },
  "/ready": {
    method: "GET",
    about: "200 when traffic may come, 503 while starting and draining",
    answer: ({ phase }) => plain(phase, phase === "ready" ? 200 : 503),
  },
  "/metrics": {
    method: "GET",
    about: "metrics for Prometheus",
    answer: async ({ metrics }) => ({
      status: 200,
      type: metrics.contentType,
      text: await metrics.exposition(),
    }),
  },
  "/config": {
    method: "GET",
    about: "the configuration in force, defaults filled in, secrets redacted",
    answer: ({ config }) => json(redactedConfig(config)),
  },
  "/stack": {
    method: "GET",
    about: "the layers that a request passes, outermost first",
    answer: (sidecar) => json(stackView(sidecar)),
  },
  "/endpoints": {
    method: "GET",
    about: "every upstream: its sources, and each endpoint with its health, whether it is used and why",
    answer: async (sidecar) => json(await endpointsView(sidecar)),
  },
  "/requests": {
    method: "GET",
    about: "every request in flight: its state, what it waits for, for how long",
    answer: async (sidecar) => json(await requestsView(sidecar)),
  },
  "/breakers": {
    method: "GET",
    about:
      "the breakers of routes, and of the endpoints those that have opened or are forced; POST forces one: ?upstream=&endpoint= or ?route=, &state= open, closed or auto, &for=10m",
    answer: async (sidecar) => json(await breakersView(sidecar)),
    also: {
      POST: async (sidecar, { searchParams }) => {
        const forcing = await forceBreakers(sidecar, searchParams);
        return "view" in forcing ? json(forcing.view) : plain(forcing.refusal, forcing.status);
      },
    },
  },
  "/faults": {
    method: "GET",
    about: "the faults for testing that run; POST adds one, DELETE ends one by ?id= or all",
    answer: ({ faults }) => json(faults.list()),
    also: {
      POST: (sidecar, url, text) => shown(addFault(sidecar, url, text)),
      DELETE: (sidecar, url) => shown(endFaults(sidecar, url)),
    },
  },
  "/drain": {
    method: "POST",
    about: "begin to drain, as on SIGTERM",
    answer: (sidecar) => {
      void sidecar.drain();
      return plain("draining", 202);
    },
  },
  "/leave": {
    method: "POST",
    about: "tell peers to go elsewhere and go on, until SIGTERM; answers when they have heard of it",
    answer: async (sidecar) => {
      await sidecar.leave();
      return plain("left");
    },
  },
  "/retries": {
    method: "POST",
    about: "switch all retries and hedges off or on: ?enabled= one of true, false",
    answer: (sidecar, url) => {
      const wanted = url.searchParams.get("enabled");
      if (wanted !== "true" && wanted !== "false")
        return plain(`expected ?enabled= one of true, false, got ${JSON.stringify(wanted)}`, 400);
      sidecar.setRetries(wanted === "true");
      return plain(wanted === "true" ? "on" : "off");
    },
  },
  "/log-level": {
    method: "POST",
    about: `set the log level: ?level= one of ${LOG_LEVELS.join(", ")}`,
    answer: (sidecar, url) => {
      const wanted = url.searchParams.get("level");
      if (!isLogLevel(wanted))
        return plain(`expected ?level= one of ${LOG_LEVELS.join(", ")}, got ${JSON.stringify(wanted)}`, 400);
      sidecar.setLogLevel(wanted);
      return plain(wanted);
    },
  },
};

function shown({ status, said }: FaultsAnswer): Answer {
  return typeof said === "string" ? plain(said, status) : json(said, status);
}

function isLogLevel(value: string | null): value is LogLevel {
  return (LOG_LEVELS as readonly (string | null)[]).includes(value);
}

export class AdminServer {
  readonly #server: Server;

  constructor(sidecar: AdminSubject) {
    this.#server = createServer((request, response) => {
      answer(sidecar, request).then(
        (page) => send(response, page),
        (thrown: unknown) => {
          sidecar.log.log.error({ err: thrown, url: request.url }, "an admin page failed");
          send(response, plain("internal error", 500));
        },
      );
    });
  }

  /** @throws Error with the system's code, such as EADDRINUSE */
  async start(listen: ListenAddress): Promise<ListenAddress> {
    this.#server.listen(listen.port, listen.host);
    await once(this.#server, "listening");
    const bound = this.#server.address();
    if (bound === null || typeof bound === "string") throw new Error("the admin port does not listen");
    return { host: bound.address, port: bound.port };
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function answer(sidecar: AdminSubject, request: IncomingMessage): Promise<Answer> {
  const url = URL.parse(`http://admin${request.url ?? "/"}`);
  if (url === null) return plain("expected a path", 400);
  if (url.pathname === "/") return plain(index());
  const page = Object.hasOwn(ADMIN_PAGES, url.pathname) ? ADMIN_PAGES[url.pathname] : undefined;
  if (page === undefined) return plain(`no such page\n\n${index()}`, 404);
  const method = request.method === "HEAD" ? "GET" : request.method;
  const foreign = foreignness(request);
  if (foreign !== undefined) return plain(foreign, 403);
  if (method === page.method) return page.answer(sidecar, url, "");
  const also = Object.hasOwn(page.also ?? {}, method ?? "") ? page.also?.[method ?? ""] : undefined;
  if (also === undefined) return plain(`expected ${methodsOf(page).join(", ")}, got ${request.method}`, 405);
  const text = await textOf(request);
  return text === undefined ? plain("the body is too long", 413) : also(sidecar, url, text);
}

/** What may be done at a page, what shows first. */
export function methodsOf({ method, also }: Page): readonly string[] {
  return [method, ...Object.keys(also ?? {})];
}

/** The body; undefined when it is longer than anything that is meant for this port. */
async function textOf(request: IncomingMessage): Promise<string | undefined> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) {
    text += part;
    if (text.length > MOST_TEXT_BYTES) return undefined;
  }
  return text;
}

/**
 * Why a request is not the operator's but a web page's in the operator's browser: a page may not change anything, and
 * a page whose name was made to point to loopback may not even look.
 */
function foreignness({ method, headers, socket }: IncomingMessage): string | undefined {
  if (method !== "GET" && method !== "HEAD" && headers.origin !== undefined)
    return "requests from web pages are refused";
  const host = (headers.host ?? "").replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  const loopback = /^(?:::ffff:)?127\.|^::1$/.test(socket.localAddress ?? "");
  if (loopback && isIP(host) === 0 && host !== "localhost")
    return `on loopback, Host must be an address or localhost, got ${JSON.stringify(host)}`;
  return undefined;
}

function index(): string {
  return Object.entries(ADMIN_PAGES)
    .map(([path, page]) => `${methodsOf(page).join(", ").padEnd(17)} ${path.padEnd(11)} ${page.about}`)
    .join("\n");
}

function send(response: ServerResponse, { status, type, text }: Answer): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(text);
}
