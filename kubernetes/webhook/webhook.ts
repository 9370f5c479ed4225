/**
 * The webhook as a server: reviews by HTTPS, its health and its counts on a plain port, new certificates without a restart, and an end that
 * answers what has been asked.
 *
 * The end takes its time. A pod that ends is in the Service's endpoints for a moment longer, and a review that finds no one there is, as the
 * webhook is usually configured, a pod without a sidecar. So it is not ready at once, goes on serving for a while and closes every connection after the answer,
 * and only then stops to listen.
 */
import { once } from "node:events";
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type Clock, delay, LatestConnections, type Log } from "../../core/index.ts";
import type { AdmissionPolicy } from "./admission.ts";
import { CertificateFiles } from "./certificate-files.ts";
import { WebhookCounts } from "./counts.ts";
import { HeldBytes } from "./held-bytes.ts";
import { serveReview } from "./review-port.ts";

export interface ListenAt {
  /** Every address of the machine when it is undefined. */
  readonly host: string | undefined;
  /** 0 takes a free one. */
  readonly port: number;
}

export interface WebhookOptions {
  readonly policy: AdmissionPolicy;
  readonly listen: ListenAt;
  readonly health: ListenAt;
  /** The names of the files, in PEM. */
  readonly certificate: string;
  readonly key: string;
  /** How long it goes on serving after it was asked to end. */
  readonly lingerMs: number;
}

interface BoundAt {
  readonly host: string;
  readonly port: number;
}

export interface WebhookAddresses {
  readonly listen: BoundAt;
  readonly health: BoundAt;
}

/** The API server gives up after at most 30 s, by default after 10 s. */
const REQUEST_MS = 30_000;
const HEAD_MS = 5_000;
/** Longer than the API server keeps an idle connection (Go's usual 90 s), so that it is never we who close one that is about to be used. */
const KEEP_ALIVE_MS = 120_000;
/** What is on its way when it stops to listen has so long to be answered. */
const GRACE_MS = 10_000;
const TELL_OF_TLS_EACH_MS = 60_000;
const MOST_CONNECTIONS = 1_000;

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #counts = new WebhookCounts();
  readonly #files: CertificateFiles;
  readonly #plain = createPlainServer((request, response) => void this.#show(request, response));
  #server: Server | undefined;
  #phase: "starting" | "ready" | "leaving" | "stopped" = "starting";
  #toldOfTlsMs = Number.NEGATIVE_INFINITY;
  #stopping: Promise<void> | undefined;

  constructor(options: WebhookOptions, clock: Clock, log: Log) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#files = new CertificateFiles(options, clock, log);
  }

  /** @throws Error when there is no usable certificate, or with the system's code, such as EADDRINUSE */
  async start(): Promise<WebhookAddresses> {
    const { cert, key, expiresAtMs } = await this.#files.load();
    this.#counts.certificate(expiresAtMs);
    const { policy } = this.#options;
    const parts = {
      held: new HeldBytes(() => this.#counts.crowdedOut()),
      policy,
      counts: this.#counts,
      log: this.#log,
      now: () => this.#clock.now(),
      isLeaving: () => this.#phase !== "ready",
    };
    const server = createServer(
      {
        cert,
        key,
        minVersion: "TLSv1.2",
        requestTimeout: REQUEST_MS,
        headersTimeout: HEAD_MS,
        handshakeTimeout: HEAD_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void serveReview(request, response, parts),
    );
    this.#server = server;
    for (const each of [server, this.#plain]) {
      const connections = new LatestConnections(MOST_CONNECTIONS, () => this.#counts.crowdedOut());
      // Before the handshake, which counts as well.
      each.on("connection", (socket: Socket) => connections.admit(socket));
      each.on("request", (request: IncomingMessage, response: ServerResponse) => {
        connections.asked(request.socket);
        response.once("finish", () => connections.answered(request.socket));
      });
    }
    server.on("tlsClientError", (err) => this.#tlsFailed(err));
    try {
      const listen = await listening(server, this.#options.listen);
      const health = await listening(this.#plain, this.#options.health);
      this.#files.follow({
        use: (pair) => {
          // Connections that are open keep what they have; new ones get this.
          server.setSecureContext({ cert: pair.cert, key: pair.key, minVersion: "TLSv1.2" });
          this.#counts.certificate(pair.expiresAtMs);
        },
        refused: () => this.#counts.certificateRefused(),
      });
      this.#phase = "ready";
      return { listen, health };
    } catch (thrown) {
      this.destroy();
      throw thrown;
    }
  }

  /** Goes on for a while, then stops and answers what is on its way. Resolves when all of it has ended. */
  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  /** Ends at once, with whatever is on its way. */
  destroy(): void {
    this.#phase = "stopped";
    this.#files.stop();
    for (const server of [this.#server, this.#plain]) {
      server?.close();
      server?.closeAllConnections();
    }
  }

  async #leave(): Promise<void> {
    if (this.#phase === "stopped") return;
    this.#phase = "leaving";
    await delay(this.#clock, this.#options.lingerMs);
    const server = this.#server;
    if (server?.listening === true) {
      const closed = once(server, "close");
      server.close();
      const late = this.#clock.schedule(GRACE_MS, () => server.closeAllConnections());
      await closed;
      late.cancel();
    }
    this.destroy();
  }

  #tlsFailed(err: NodeJS.ErrnoException): void {
    // Somebody who connects and hangs up, as checks of the port do. Who does not trust the certificate says so with an alert.
    if (err.code === "ECONNRESET") return;
    this.#counts.tlsFailed();
    const nowMs = this.#clock.now();
    if (nowMs - this.#toldOfTlsMs < TELL_OF_TLS_EACH_MS) return;
    this.#toldOfTlsMs = nowMs;
    this.#log.warn(
      { err },
      "a TLS handshake failed; if it was the API server's, the caBundle may not fit the certificate",
    );
  }

  async #show({ method = "", url = "" }: IncomingMessage, response: ServerResponse): Promise<void> {
    const plain = "text/plain; charset=utf-8";
    const say = (status: number, text: string, type = plain) => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
      response.end(text);
    };
    const path = url.split("?", 1)[0];
    if (path !== "/live" && path !== "/ready" && path !== "/metrics") say(404, "no such path\n");
    else if (method !== "GET" && method !== "HEAD") say(405, `expected GET, got ${method}\n`);
    else if (path === "/live") say(200, "live\n");
    else if (path === "/ready") say(this.#phase === "ready" ? 200 : 503, `${this.#phase}\n`);
    else say(200, await this.#counts.text(), this.#counts.contentType);
  }
}

async function listening(
  server: Server | ReturnType<typeof createPlainServer>,
  { host, port }: ListenAt,
): Promise<BoundAt> {
  server.listen(port, host);
  await once(server, "listening");
  const { address, port: bound } = server.address() as AddressInfo;
  return { host: address, port: bound };
}
