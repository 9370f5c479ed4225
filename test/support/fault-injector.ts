/**
 * A network in bad order: a TCP proxy before an app that is well, which does to connections what networks, kernels and
 * dying processes do. The app behind it is real and gets each request that the fault lets through, so that it can tell what
 * was delivered, and how often.
 *
 * Which fault a connection has is asked whenever bytes come, by its number: so one that is pooled takes a new fault on in
 * the middle of its life, and a fault can be that of some connections only. It knows of HTTP/1 just where a head
 * ends, and that bytes from the caller after an answer begin the next exchange.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "../../core/index.ts";
import { reset } from "../../proxy/reset.ts";
import type { Teardown } from "./apps.ts";
import { type BlackHole, openBlackHole } from "./black-hole.ts";
import { seededRandom } from "./seeded-random.ts";

export type Fault =
  | { readonly kind: "none" }
  /** The port is closed; connections that there are go on. */
  | { readonly kind: "refuse" }
  /** All of the answer comes later by so much. */
  | { readonly kind: "delay"; readonly ms: number }
  /**
   * RST: instead of the first bytes of a connection; when the head of a request is here, of which the app hears nothing;
   * when the app has answered, of which the caller hears nothing; or after the head of the answer and half of what came with it.
   */
  | { readonly kind: "reset"; readonly at: "accept" | "request head" | "answer" | "middle of answer" }
  /** Reads all, passes it on to the app, never answers, and leaves a FIN without one of its own. */
  | { readonly kind: "half-open" }
  /** A connect has no answer; on connections that there are, bytes vanish on the way to the app. */
  | { readonly kind: "black hole" }
  /**
   * Bytes of the answer's head have a bit flipped: of `version` the eighth bit of one, which no reader can take for anything
   * else; of `head` any bit of `bytes` of them, which may leave a head that is well-formed and wrong.
   */
  | { readonly kind: "corrupt"; readonly of: "version" }
  | { readonly kind: "corrupt"; readonly of: "head"; readonly bytes: number }
  /** A byte each `everyMs`; from the body on, or from the head on. */
  | { readonly kind: "slow drip"; readonly everyMs: number; readonly from: "head" | "body" }
  /** Half of the head, or the head and half of what came with it, and then FIN. */
  | { readonly kind: "partial write"; readonly of: "head" | "body" };

/** By the number of a connection, from 0. */
export type FaultOf = (connection: number) => Fault;

export interface FaultInjector {
  readonly port: number;
  /** `127.0.0.1:port`, as a configuration names an endpoint. */
  readonly address: string;
  /** Accepted since the beginning; a black hole accepts none. */
  readonly connections: number;
  /** Accepted, and not closed by both sides yet. */
  readonly open: number;
  readonly bytesFromCaller: number;
  readonly bytesToCaller: number;
  /** Resolves when it is in force. Leads through a moment in which the port is closed where a black hole comes or goes. */
  become(fault: Fault | FaultOf): Promise<void>;
  /** Resets every connection that there is, as when the process behind them dies. */
  cut(): void;
  /** Closes the port and resets every connection. */
  stop(): Promise<void>;
}

export interface FaultInjectorOptions {
  readonly fault?: Fault | FaultOf;
  /** Of the bits that are flipped. */
  readonly seed?: number;
}

/** Starts an injector before the app, which ends with the test. */
export async function startFaultInjector(
  t: Teardown,
  app: { readonly port: number },
  { fault = { kind: "none" }, seed = 1 }: FaultInjectorOptions = {},
): Promise<FaultInjector> {
  const injector = new Injector(app.port, seed);
  t.teardown(() => injector.stop());
  // Whatever the fault is, the port is its own from the beginning.
  await injector.listen();
  await injector.become(fault);
  return injector;
}

/**
 * Below those that the kernel gives away (net.ipv4.ip_local_port_range): a port that is closed for a while would else become that of
 * another listener, which would get what is to be refused.
 */
const EPHEMERAL = 32_768;
const LOWEST_PORT = 20_000;

/** False where the port is another's. */
async function listens(server: Server, port: number): Promise<boolean> {
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw thrown;
  }
}

class Injector implements FaultInjector, Tally {
  port = 0;
  connections = 0;
  bytesFromCaller = 0;
  bytesToCaller = 0;
  readonly random: Random;
  readonly #appPort: number;
  readonly #wires = new Set<Wire>();
  #faultOf: FaultOf = () => ({ kind: "none" });
  #server: Server | undefined;
  #blackHole: BlackHole | undefined;

  constructor(appPort: number, seed: number) {
    this.#appPort = appPort;
    this.random = seededRandom(seed);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get open(): number {
    return this.#wires.size;
  }

  faultOf(connection: number): Fault {
    return this.#faultOf(connection);
  }

  async become(fault: Fault | FaultOf): Promise<void> {
    this.#faultOf = typeof fault === "function" ? fault : () => fault;
    const kind = typeof fault === "function" ? undefined : fault.kind;
    if (kind !== "black hole") await this.#closeBlackHole();
    if (kind === "refuse" || kind === "black hole") this.#closePort();
    else await this.listen();
    if (kind === "black hole") this.#blackHole ??= await openBlackHole(this.port);
  }

  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
      const wire = new Wire(this, this.connections++, caller, this.#appPort, () => this.#wires.delete(wire));
      this.#wires.add(wire);
    });
    this.#server = server;
    while (!(await listens(server, this.port === 0 ? this.#anyPort() : this.port)))
      if (this.port !== 0) throw new Error(`port ${this.port} was taken while it was closed`);
    this.port = (server.address() as AddressInfo).port;
  }

  #anyPort(): number {
    return LOWEST_PORT + Math.floor(Math.random() * (EPHEMERAL - LOWEST_PORT));
  }

  async stop(): Promise<void> {
    this.#closePort();
    this.cut();
    await this.#closeBlackHole();
  }

  cut(): void {
    for (const wire of this.#wires) wire.reset();
  }

  #closePort(): void {
    // Its connections stay, so that nobody can wait for it to be closed.
    this.#server?.close();
    this.#server = undefined;
  }

  async #closeBlackHole(): Promise<void> {
    const closing = this.#blackHole?.close();
    this.#blackHole = undefined;
    await closing;
  }
}

/** What connections ask of their injector, and count with it. */
interface Tally {
  bytesFromCaller: number;
  bytesToCaller: number;
  readonly random: Random;
  faultOf(connection: number): Fault;
}

const HEAD_END = "\r\n\r\n";
const VERSION_BYTES = "HTTP/1.1".length;

/** One connection of a caller, and the one to the app that belongs to it. */
class Wire {
  readonly #tally: Tally;
  readonly #number: number;
  readonly #caller: Socket;
  readonly #app: Socket;
  /** What has come of the request or of the answer for as long as its head is not complete. */
  #head = Buffer.alloc(0);
  #isAnswering = false;
  #isHeadOver = false;
  /** Bytes of a drip that wait for their turn. */
  #waiting: number[] = [];
  #drip: NodeJS.Timeout | undefined;
  #hasAppEnded = false;
  #isCut = false;

  constructor(tally: Tally, number: number, caller: Socket, appPort: number, onClosed: () => void) {
    this.#tally = tally;
    this.#number = number;
    this.#caller = caller;
    this.#app = connect({ port: appPort, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    for (const socket of [caller, this.#app]) socket.on("error", () => {});
    caller.on("data", (bytes: Buffer) => this.#asked(bytes));
    caller.on("end", () => {
      const { kind } = this.#fault();
      if (kind !== "half-open" && kind !== "black hole") this.#app.end();
    });
    caller.on("close", () => {
      clearInterval(this.#drip);
      this.#app.destroy();
      onClosed();
    });
    this.#app.on("data", (bytes: Buffer) => this.#answered(bytes));
    this.#app.on("end", () => {
      this.#hasAppEnded = true;
      this.#appEnded();
    });
    this.#app.on("close", () => {
      if (!this.#hasAppEnded && !this.#isCut) this.reset();
    });
    const fault = this.#fault();
    if (fault.kind === "reset" && fault.at === "accept") this.reset();
  }

  /** RST to the caller. */
  reset(): void {
    this.#isCut = true;
    // Not by Node alone: of a socket whose end is on its way it would keep the descriptor, and could not end its process then.
    reset(this.#caller);
    this.#app.destroy();
  }

  #fault(): Fault {
    return this.#tally.faultOf(this.#number);
  }

  #asked(bytes: Buffer): void {
    this.#tally.bytesFromCaller += bytes.length;
    if (this.#isAnswering) this.#begin(false);
    this.#readHead(bytes);
    const fault = this.#fault();
    if (fault.kind === "black hole") return;
    if (fault.kind === "reset" && (fault.at === "accept" || fault.at === "request head")) {
      if (fault.at === "accept" || this.#isHeadOver) this.reset();
    } else if (!this.#app.write(bytes)) {
      this.#caller.pause();
      this.#app.once("drain", () => this.#caller.resume());
    }
  }

  #answered(bytes: Buffer): void {
    if (this.#isCut) return;
    if (!this.#isAnswering) this.#begin(true);
    const fault = this.#fault();
    switch (fault.kind) {
      case "half-open":
      case "black hole":
        return;
      case "delay":
        // Timers of one length run in the order in which they were set.
        setTimeout(() => this.#pass(bytes), fault.ms);
        return;
      case "reset":
        if (fault.at !== "middle of answer") this.reset();
        else this.#withHead(bytes, (head, rest) => this.#passAndCut(halfOf(head, rest), () => this.reset()));
        return;
      case "partial write":
        this.#withHead(bytes, (head, rest) => {
          const part =
            fault.of === "head" ? head.subarray(0, Math.floor(head.length / 2)) : halfOf(head, rest);
          this.#passAndCut(part, () => this.#caller.end());
        });
        return;
      case "corrupt":
        if (this.#isHeadOver) this.#pass(bytes);
        else
          this.#withHead(bytes, (head, rest) =>
            this.#pass(Buffer.concat([this.#corrupted(head, fault), rest])),
          );
        return;
      case "slow drip":
        if (fault.from === "head" || this.#isHeadOver) this.#dripOn(bytes, fault.everyMs);
        else
          this.#withHead(bytes, (head, rest) => {
            this.#pass(head);
            this.#dripOn(rest, fault.everyMs);
          });
        return;
      default:
        this.#pass(bytes);
    }
  }

  #begin(isAnswering: boolean): void {
    this.#isAnswering = isAnswering;
    this.#isHeadOver = false;
    this.#head = Buffer.alloc(0);
  }

  /** The head that is complete with these bytes, and what follows it. */
  #readHead(bytes: Buffer): { readonly head: Buffer; readonly rest: Buffer } | undefined {
    if (this.#isHeadOver) return undefined;
    const all = Buffer.concat([this.#head, bytes]);
    this.#head = all;
    const end = all.indexOf(HEAD_END);
    if (end === -1) return undefined;
    this.#isHeadOver = true;
    this.#head = Buffer.alloc(0);
    const length = end + HEAD_END.length;
    return { head: all.subarray(0, length), rest: all.subarray(length) };
  }

  /** Once for each answer, when its head is complete; until then nothing is passed on. */
  #withHead(bytes: Buffer, go: (head: Buffer, rest: Buffer) => void): void {
    const parts = this.#readHead(bytes);
    if (parts !== undefined) go(parts.head, parts.rest);
  }

  #pass(bytes: Uint8Array): void {
    if (this.#caller.destroyed || this.#caller.writableEnded) return;
    this.#tally.bytesToCaller += bytes.length;
    this.#caller.write(bytes);
  }

  /** The last bytes, and the end only when the kernel has them: a reset loses what it has not. */
  #passAndCut(bytes: Buffer, cut: () => void): void {
    this.#isCut = true;
    this.#tally.bytesToCaller += bytes.length;
    this.#caller.write(bytes, () => {
      cut();
      this.#app.destroy();
    });
  }

  #corrupted(head: Buffer, fault: Fault & { readonly kind: "corrupt" }): Buffer {
    const below = (limit: number) => Math.floor(this.#tally.random.next() * limit);
    const wrong = Buffer.from(head);
    if (fault.of === "version") wrong[below(VERSION_BYTES)]! ^= 0x80;
    else for (let n = 0; n < fault.bytes; n++) wrong[below(head.length)]! ^= 1 << below(8);
    return wrong;
  }

  #dripOn(bytes: Buffer, everyMs: number): void {
    this.#waiting.push(...bytes);
    this.#drip ??= setInterval(() => {
      const byte = this.#waiting.shift();
      if (byte !== undefined) return this.#pass(Buffer.of(byte));
      clearInterval(this.#drip);
      this.#drip = undefined;
      if (this.#hasAppEnded) this.#caller.end();
    }, everyMs);
  }

  #appEnded(): void {
    const fault = this.#fault();
    if (this.#isCut || this.#drip !== undefined) return;
    if (fault.kind === "half-open" || fault.kind === "black hole") return;
    if (fault.kind === "delay") setTimeout(() => this.#caller.end(), fault.ms);
    else this.#caller.end();
  }
}

/** The head, and half of what came with it; a head alone where that is all there is. */
function halfOf(head: Buffer, rest: Buffer): Buffer {
  return Buffer.concat([head, rest.subarray(0, Math.floor(rest.length / 2))]);
}
