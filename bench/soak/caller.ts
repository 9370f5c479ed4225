/**
 * One caller's request by node:http, and what its caller can truly say of it afterwards.
 *
 * node:http and not heddle's own codec: who counts must not share the faults of what is counted. Connections that are unused leave
 * sooner than heddle would close them, so that no request is sent on one that is just being closed.
 */
import { randomBytes } from "node:crypto";
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Ask } from "./kinds.ts";

/** What a caller saw. */
export interface Seen {
  /** 0 where no head came. */
  readonly status: number;
  /** `x-heddle-error`; empty where there is none. */
  readonly code: string;
  /**
   * `whole`: the answer came to its end. `broken`: it began, and the connection ended in its middle. `nothing`: the connection
   * ended before an answer. `left`: the caller has gone away itself.
   */
  readonly ended: "whole" | "broken" | "nothing" | "left";
  /** Of the answer's body. */
  readonly bytes: number;
  /** The request's head has been handed to the kernel, which delivers it whatever becomes of the connection afterwards. */
  readonly sent: boolean;
  /** What Node said of the end; empty for nothing. */
  readonly fault: string;
}

const UNUSED_MS = 5_000;
/** Nobody waits longer. Above every time limit of the configuration, so that heddle answers first. */
const PATIENCE_MS = 20_000;
const PIECE = Buffer.alloc(16 * 1024, "upload ");
const PING = Buffer.from([0x81, 0x84, 0, 0, 0, 0, ...Buffer.from("ping")]);
const GOODBYE_AFTER_PINGS = 5;
const PING_EVERY_MS = 100;

export class Callers {
  readonly #agent = new Agent({ keepAlive: true, timeout: UNUSED_MS });
  readonly #port: number;
  inFlight = 0;

  constructor(port: number) {
    this.#port = port;
  }

  /** Resolves when it is over, however. */
  send(id: string, ask: Ask): Promise<Seen> {
    this.inFlight++;
    return new Promise((resolve) => {
      new Call(this.#agent, this.#port, id, ask, (seen) => {
        this.inFlight--;
        resolve(seen);
      });
    });
  }

  /** Closes the connections that are unused. */
  hangUp(): void {
    this.#agent.destroy();
  }
}

class Call {
  readonly #ask: Ask;
  readonly #onOver: (seen: Seen) => void;
  readonly #request: ClientRequest;
  readonly #patience: NodeJS.Timeout;
  #tunnel: Duplex | undefined;
  #socket: Socket | undefined;
  /** Written on the connection by requests before this one. */
  #writtenBefore = 0;
  #status = 0;
  #code = "";
  #bytes = 0;
  #hasLeft = false;
  #isOver = false;

  constructor(agent: Agent, port: number, id: string, ask: Ask, onOver: (seen: Seen) => void) {
    this.#ask = ask;
    this.#onOver = onOver;
    const { method, path, host, bodyBytes } = ask;
    const headers: Record<string, string | number> = { host, "x-request-id": id, ...ask.headers };
    if (bodyBytes > 0 || method === "POST" || method === "PUT") headers["content-length"] = bodyBytes;
    if (ask.upgrade) {
      headers["connection"] = "Upgrade";
      headers["upgrade"] = "websocket";
      headers["sec-websocket-version"] = 13;
      headers["sec-websocket-key"] = randomBytes(16).toString("base64");
    }
    this.#request = request({ host: "127.0.0.1", port, agent, method, path, headers });
    this.#request.on("socket", (socket) => {
      this.#socket = socket;
      this.#writtenBefore = socket.bytesWritten;
    });
    this.#request.on("response", (response) => this.#answered(response));
    this.#request.on("upgrade", (response, socket, head) => this.#switched(response, socket, head));
    this.#request.on("error", (fault: NodeJS.ErrnoException) => {
      // An answer that has begun says itself how it ends.
      if (this.#status === 0) this.#over("nothing", fault.code ?? fault.message);
    });
    this.#patience = setTimeout(() => this.#leave(), Math.min(ask.goesAfterMs, PATIENCE_MS));
    this.#upload(bodyBytes);
  }

  #upload(rest: number): void {
    if (this.#isOver || this.#hasLeft) return;
    if (rest <= PIECE.length) {
      this.#request.end(rest > 0 ? PIECE.subarray(0, rest) : undefined);
      return;
    }
    // At the pace of whoever takes it.
    if (this.#request.write(PIECE)) setImmediate(() => this.#upload(rest - PIECE.length));
    else this.#request.once("drain", () => this.#upload(rest - PIECE.length));
  }

  #answered(response: IncomingMessage): void {
    this.#noteHead(response);
    response.on("data", (piece: Buffer) => {
      this.#bytes += piece.length;
      if (this.#bytes >= this.#ask.goesAfterBytes) this.#leave();
    });
    response.on("error", () => {});
    response.on("end", () => this.#over("whole"));
    response.on("close", () => this.#over("broken"));
  }

  #switched(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#noteHead(response);
    this.#tunnel = socket;
    this.#bytes += head.length;
    socket.on("data", (bytes: Buffer) => {
      this.#bytes += bytes.length;
    });
    let pings = 0;
    const pinging = setInterval(() => {
      if (pings++ < GOODBYE_AFTER_PINGS) socket.write(PING);
      else socket.end();
    }, PING_EVERY_MS);
    socket.on("error", () => {});
    socket.on("end", () => this.#over("whole"));
    socket.on("close", () => {
      clearInterval(pinging);
      this.#over("broken");
    });
  }

  #noteHead({ statusCode, headers }: IncomingMessage): void {
    this.#status = statusCode ?? 0;
    this.#code = String(headers["x-heddle-error"] ?? "");
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#hasLeft = true;
    // Before it is destroyed: then it is told what has been written no more.
    const sent = this.#sent();
    this.#tunnel?.destroy();
    this.#request.destroy();
    // A request that had no connection yet says nothing of its end.
    this.#over("left", "", sent);
  }

  #sent(): boolean {
    const socket = this.#socket;
    return socket !== undefined && !socket.connecting && socket.bytesWritten > this.#writtenBefore;
  }

  #over(ended: Seen["ended"], fault = "", sent = this.#sent()): void {
    if (this.#isOver || (this.#hasLeft && ended !== "left")) return;
    this.#isOver = true;
    clearTimeout(this.#patience);
    // What is left of an upload that was answered early is nobody's.
    if (ended === "whole" && !this.#request.writableFinished) this.#request.destroy();
    this.#onOver({ status: this.#status, code: this.#code, ended, bytes: this.#bytes, sent, fault });
  }
}
