/**
 * An API server for tests, as far as EndpointSlices of one namespace go: a real HTTP server on a loopback port that lists
 * in pages and watches from a version, with bookmarks, bearer tokens and every refusal that Kubernetes knows. What
 * needs time in Kubernetes (compaction, the end of a watch) happens here when a test says so.
 */
import { spawnSync } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import type { Instance, Sink } from "../../discovery/source.ts";
import type { Teardown } from "./apps.ts";
import { ManualClock } from "./manual-clock.ts";

export interface Slice {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

export interface Asked {
  readonly verb: "list" | "watch";
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
}

interface Change {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly slice: Slice;
}

type Answering = (request: IncomingMessage, response: ServerResponse, asked: Asked) => void;

/** A slice of IPv4 addresses with port 8080; `more` takes precedence. */
export function slice(name: string, addresses: readonly string[], more: object = {}): Slice {
  return {
    metadata: { name, labels: { "kubernetes.io/service-name": "orders" } },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    ...more,
  };
}

export class KubernetesApiServer extends EventEmitter<{ asked: [Asked]; closed: [] }> {
  /** Every request so far. */
  readonly asked: Asked[] = [];
  readonly sockets = new Set<Socket>();
  /** Connections so far, also those that have ended. */
  connections = 0;
  /** Tokens that are accepted; undefined when none is needed. */
  tokens: readonly string[] | undefined;
  /** Verbs that the Role does not have. */
  forbidden: readonly string[] = [];
  /** Answers instead, while it is set. */
  instead: Answering | undefined;
  /** What watches were told. */
  toldBytes = 0;
  /** Cuts the connection of a watch after so many bytes more, once. */
  cutAfterBytes: number = Number.POSITIVE_INFINITY;
  /** Whether watches end with what there is to say. */
  watchesEnd = false;
  #version = 100;
  #oldest = 0;
  #changes: Change[] = [];
  readonly #slices = new Map<string, Slice>();
  readonly #watches = new Set<ServerResponse>();
  readonly #server: Server;
  #url = "";

  constructor(tls?: { readonly key: string; readonly cert: string }) {
    super();
    this.setMaxListeners(0);
    const answer = (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response);
    this.#server =
      tls === undefined ? createServer(answer) : (createTlsServer(tls, answer) as unknown as Server);
    this.#server.on("connection", (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      // A caller that turns away from a certificate resets the connection.
      socket.on("error", () => {});
      socket.on("close", () => {
        this.sockets.delete(socket);
        this.emit("closed");
      });
    });
    this.#url = tls === undefined ? "http" : "https";
  }

  async start(t: Teardown): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.#url += `://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    t.teardown(() => this.stop());
    return this;
  }

  get url(): string {
    return this.#url;
  }

  get version(): string {
    return String(this.#version);
  }

  count(verb: Asked["verb"]): number {
    return this.asked.filter((asked) => asked.verb === verb).length;
  }

  put(slice: Slice): void {
    const type = this.#slices.has(slice.metadata.name) ? "MODIFIED" : "ADDED";
    this.#change(type, slice);
  }

  remove(name: string): void {
    const slice = this.#slices.get(name);
    if (slice !== undefined) this.#change("DELETED", slice);
  }

  /** Something else in the cluster has changed, and watches are told how far they are. */
  bookmark(): void {
    this.#version++;
    for (const watch of this.#watches) this.#tell(watch, this.#bookmark());
  }

  /** Forgets what was before now; watches that run are not told. */
  compact(): void {
    this.#oldest = ++this.#version;
    this.#changes = [];
  }

  /** Says this to every watch, whatever it is. */
  say(text: string): void {
    for (const watch of this.#watches) watch.write(text);
  }

  /** Ends watches as their timeoutSeconds would. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end();
    this.#watches.clear();
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** As after a restore of an older backup: other slices, and an earlier version. */
  restart(version: number, slices: readonly Slice[]): void {
    this.#version = version;
    this.#oldest = 0;
    this.#changes = [];
    this.#slices.clear();
    this.#watches.clear();
    for (const slice of slices) this.put(slice);
    this.cut();
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.cut();
  }

  /** Resolves when nobody is connected any more. */
  async deserted(): Promise<void> {
    while (this.sockets.size > 0) await once(this, "closed");
  }

  #change(type: Change["type"], slice: Slice): void {
    const version = ++this.#version;
    if (type === "DELETED") this.#slices.delete(slice.metadata.name);
    else this.#slices.set(slice.metadata.name, this.#stamped(slice, version));
    const change = { version, type, slice: this.#stamped(slice, version) };
    this.#changes.push(change);
    for (const watch of this.#watches) this.#tell(watch, event(change));
  }

  #stamped(slice: Slice, version: number): Slice {
    return { ...slice, metadata: { ...slice.metadata, resourceVersion: String(version) } } as Slice;
  }

  #bookmark(): string {
    const object = { kind: "EndpointSlice", metadata: { resourceVersion: this.version } };
    return line({ type: "BOOKMARK", object });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://server");
    const query = url.searchParams;
    const verb = query.get("watch") === "true" ? "watch" : "list";
    const asked: Asked = { verb, query, authorization: request.headers.authorization };
    this.asked.push(asked);
    this.emit("asked", asked);
    if (this.instead !== undefined) {
      this.instead(request, response, asked);
      return;
    }
    if (this.tokens?.includes(bearer(asked)) === false) refuse(response, 401, "Unauthorized");
    else if (url.pathname !== "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices")
      refuse(response, 404, "the server could not find the requested resource");
    else if (query.get("labelSelector") !== "kubernetes.io/service-name=orders") refuse(response, 400, "bad");
    else if (this.forbidden.includes(verb))
      refuse(response, 403, `endpointslices is forbidden: User "system:x:app" cannot ${verb} resource`);
    else if (verb === "list") this.#list(query, response);
    else this.#watch(query, response);
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const [begun, from] = (query.get("continue") ?? `${this.#version}:0`).split(":").map(Number);
    if (begun! < this.#oldest) {
      refuse(response, 410, "The provided continue parameter is too old");
      return;
    }
    const until = from! + Number(query.get("limit") ?? 500);
    const all = [...this.#slices.values()];
    const rest = until < all.length ? { continue: `${begun}:${until}` } : {};
    const metadata = { resourceVersion: String(begun), ...rest };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ kind: "EndpointSliceList", metadata, items: all.slice(from, until) }));
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get("resourceVersion"));
    if (from > this.#version) {
      refuse(response, 504, `Too large resource version: ${from}, current: ${this.#version}`);
      return;
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.#oldest) {
      const object = { kind: "Status", code: 410, message: `too old resource version: ${from}` };
      response.end(line({ type: "ERROR", object }));
      return;
    }
    this.#watches.add(response);
    response.on("close", () => this.#watches.delete(response));
    const missed = this.#changes.filter(({ version }) => version > from).map(event);
    if (missed.length > 0) this.#tell(response, missed.join(""));
    if (this.watchesEnd) response.end();
  }

  #tell(watch: ServerResponse, text: string): void {
    const bytes = Buffer.from(text);
    this.toldBytes += bytes.length;
    if (bytes.length <= this.cutAfterBytes) {
      this.cutAfterBytes -= bytes.length;
      watch.write(bytes);
      return;
    }
    const left = bytes.subarray(0, this.cutAfterBytes);
    this.cutAfterBytes = Number.POSITIVE_INFINITY;
    this.#watches.delete(watch);
    if (left.length === 0) watch.socket?.destroy();
    else watch.write(left, () => watch.socket?.destroy());
  }
}

/** Refuses as Kubernetes does, with a Status. */
export function refuse(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify({ kind: "Status", status: "Failure", code, message }));
}

const line = (object: object) => `${JSON.stringify(object)}\n`;
const event = ({ type, slice }: Change) => line({ type, object: slice });
const bearer = ({ authorization }: Asked) => authorization?.replace("Bearer ", "") ?? "";

/** A certificate of 127.0.0.1 that vouches for itself; undefined where there is no openssl. */
export function selfSigned(folder: string): { readonly key: string; readonly cert: string } | undefined {
  const key = join(folder, "server.key");
  const cert = join(folder, "server.crt");
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const name = ["-subj", "/CN=kube-apiserver", "-addext", "subjectAltName=IP:127.0.0.1"];
  const made = spawnSync("openssl", ["req", "-x509", ...curve, ...name, "-keyout", key, "-out", cert]);
  if (made.status !== 0) return undefined;
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

/** What a source has said, and a way to wait for what it says next. */
export class Heard implements Sink {
  readonly lists: (readonly Instance[])[] = [];
  readonly silences: string[] = [];
  #wake = Promise.withResolvers<void>();

  list(instances: readonly Instance[]): void {
    this.lists.push(instances);
    this.touch();
  }

  silent(why: string): void {
    this.silences.push(why);
    this.touch();
  }

  /** Lets those that wait look again. */
  readonly touch = (): void => {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  };

  /** The addresses of the last list. */
  get addresses(): readonly string[] | undefined {
    return this.lists.at(-1)?.map(({ address }) => address);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#wake.promise;
  }

  listed(times: number): Promise<void> {
    return this.until(() => this.lists.length >= times);
  }

  silenced(times: number): Promise<void> {
    return this.until(() => this.silences.length >= times);
  }
}

/** No rest of a source is longer; an answer is waited for longer. */
const LONGEST_REST_MS = 25_000;

/** Time in which rests take none: they are passed as soon as they begin. What watches over an answer never ends by itself. */
export class RestlessClock extends ManualClock {
  readonly restsMs: number[] = [];

  override schedule(delayMs: number, callback: () => void): ReturnType<ManualClock["schedule"]> {
    const timer = super.schedule(delayMs, callback);
    if (delayMs > LONGEST_REST_MS) return timer;
    this.restsMs.push(delayMs);
    let passed = false;
    setImmediate(() => {
      if (!passed) this.advance(delayMs);
    });
    return {
      cancel() {
        passed = true;
        timer.cancel();
      },
    };
  }
}
