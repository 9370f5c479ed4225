/**
 * The edge to one API server: requests, the token, the certificates to trust, and how long an answer may be silent.
 *
 * Sources of the same server share one of these, and with it the connections that are idle between a list and a watch.
 * Token and certificates are read for every request and not cached: both rotate, a request is made every few minutes, and
 * finding out whether a kilobyte in memory has changed costs what reading it costs.
 */
import { readFile } from "node:fs/promises";
import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { Clock, Timer } from "../../core/index.ts";
import type { ClusterAccess } from "./cluster-access.ts";
import { type WatchEvent, WatchLines } from "./watch-lines.ts";

/** How long the head of an answer may take, and a list may pause; the server answers both at once or not at all. */
const SILENCE_MS = 30_000;
/** Well below the idle limits of the load balancers and NATs that may be on the way. */
const TCP_KEEP_ALIVE_MS = 15_000;
const LARGEST_LIST_BYTES = 64 * 1024 * 1024;
/** Of an answer that refuses: enough for its reason. */
const LARGEST_REFUSAL_BYTES = 16 * 1024;

/** The server answered, and not with what was asked for. */
export class ApiRefusal extends Error {
  /** 410 when the version, or the rest of a list, is no longer known. */
  readonly status: number;
  /** What Retry-After asks for; 0 without. */
  readonly retryAfterMs: number;

  constructor(status: number, reason: string, retryAfterMs = 0) {
    super(`the API server answers ${status}: ${reason}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

interface Answer {
  readonly response: IncomingMessage;
  /** Its bytes; ends with the answer, throws when it breaks off. */
  readonly chunks: AsyncGenerator<Buffer, void>;
}

type Query = Readonly<Record<string, string>>;

export class KubernetesApi {
  readonly #server: URL;
  readonly #access: Pick<ClusterAccess, "tokenFile" | "caFile">;
  readonly #clock: Clock;
  #agent: Agent | undefined;
  #users = 0;

  constructor(access: Pick<ClusterAccess, "server" | "tokenFile" | "caFile">, clock: Clock) {
    this.#server = new URL(access.server);
    this.#access = access;
    this.#clock = clock;
  }

  /** Every source that uses this says so, and says when it does no longer: the last one closes idle connections. */
  retain(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    if (this.#users > 0) return;
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  /**
   * A page of a list.
   * @throws ApiRefusal, or Error when there is no answer, or none that is whole and JSON
   */
  async list(path: string, query: Query, signal: AbortSignal): Promise<unknown> {
    const { chunks } = await this.#get(path, query, SILENCE_MS, signal);
    const body = await gather(chunks, LARGEST_LIST_BYTES);
    if (body === undefined) throw new Error(`a list is longer than ${LARGEST_LIST_BYTES} bytes`);
    try {
      return JSON.parse(body);
    } catch {
      throw new Error("the API server answers something that is not JSON");
    }
  }

  /**
   * What a watch says, gathered by what came at once. It ends when the server ends it or the connection breaks: what was
   * said whole holds, and a line that was cut is said again to a watch that goes on from the last one.
   * @throws ApiRefusal, or Error when there is no answer, nothing comes for `silenceMs`, or what comes is not a watch
   */
  async *watch(
    path: string,
    query: Query,
    silenceMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly WatchEvent[], void> {
    const { chunks } = await this.#get(path, query, silenceMs, signal);
    const lines = new WatchLines();
    try {
      for await (const chunk of chunks) {
        const events = lines.push(chunk);
        if (events.length > 0) yield events;
      }
    } catch (thrown) {
      if (thrown instanceof BrokenOff) return;
      throw thrown;
    }
    // Nobody cut it, so whoever wrote it does not write lines: a gateway's page, and not a watch.
    if (lines.unfinished) throw new Error("the API server's watch ends in the middle of a line");
  }

  /** An answer with 200. */
  async #get(path: string, query: Query, silenceMs: number, signal: AbortSignal): Promise<Answer> {
    let token = await this.#token();
    for (let again = false; ; again = true) {
      const answer = await this.#answer(path, query, token, silenceMs, signal);
      const { statusCode: status = 0, headers } = answer.response;
      if (status === 200) return answer;
      const body = await gather(answer.chunks, LARGEST_REFUSAL_BYTES);
      const sent = token;
      // The file may have been replaced just after it was read.
      if (status === 401 && !again) token = await this.#token();
      if (token !== sent) continue;
      throw new ApiRefusal(status, reasonIn(body), retryAfterMs(headers["retry-after"]));
    }
  }

  /** The head of an answer of whatever status, after one attempt more if the server has just closed an idle connection. */
  async #answer(
    path: string,
    query: Query,
    token: string | undefined,
    silenceMs: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    const options = await this.#options(path, query, token);
    for (let again = false; ; again = true) {
      signal.throwIfAborted();
      const call = new Call(this.#request(options), this.#clock, signal);
      try {
        const response = await call.head(SILENCE_MS);
        return { response, chunks: call.chunks(response, silenceMs) };
      } catch (thrown) {
        if (again || !call.metClosedConnection || signal.aborted) throw thrown;
      }
    }
  }

  async #options(path: string, query: Query, token: string | undefined): Promise<RequestOptions> {
    const { protocol, hostname, port, pathname } = this.#server;
    const { caFile } = this.#access;
    return {
      protocol,
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      path: `${pathname.replace(/\/$/, "")}${path}?${new URLSearchParams(query)}`,
      headers: {
        accept: "application/json",
        "user-agent": "heddle",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      // Given with the request and not with the agent, which keeps connections of different trust apart by itself.
      ...(caFile === undefined ? {} : { ca: await readText(caFile, "the API server's certificates") }),
    };
  }

  #request(options: RequestOptions): ClientRequest {
    // Taken here and not imported: a sidecar without Kubernetes should not load TLS for it.
    const { Agent, request } = process.getBuiltinModule(
      this.#server.protocol === "https:" ? "node:https" : "node:http",
    );
    this.#agent ??= new Agent({ keepAlive: true });
    return request({ ...options, agent: this.#agent });
  }

  async #token(): Promise<string | undefined> {
    const { tokenFile } = this.#access;
    return tokenFile === undefined ? undefined : readText(tokenFile, "the token");
  }
}

/** The connection ended in the middle of an answer. */
class BrokenOff extends Error {}

/** One request and its answer, ended by a silence or when it is no longer wanted. */
class Call {
  readonly #request: ClientRequest;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #silence: Timer | undefined;
  #silent: Error | undefined;

  constructor(request: ClientRequest, clock: Clock, signal: AbortSignal) {
    this.#request = request;
    this.#clock = clock;
    this.#signal = signal;
    // A connection whose other side has vanished without a word is found dead by the system as well.
    request.on("socket", (socket) => socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS));
  }

  /** It found a kept connection that the server was closing: not a sign of anything. */
  get metClosedConnection(): boolean {
    return this.#request.reusedSocket && this.#silent === undefined;
  }

  async head(silenceMs: number): Promise<IncomingMessage> {
    const head = Promise.withResolvers<IncomingMessage>();
    // These stay, as a request may fail again and an error without a listener ends the process.
    this.#request.on("response", head.resolve).on("error", head.reject);
    this.#request.on("close", () => head.reject(new Error("the API server hung up")));
    this.#signal.addEventListener("abort", this.#end);
    if (this.#signal.aborted) this.#end();
    this.#expectWithin(silenceMs);
    this.#request.end();
    try {
      return await head.promise;
    } catch (thrown) {
      this.#end();
      throw this.#silent ?? new Error(`the API server does not answer: ${reasonOf(thrown)}`);
    }
  }

  /** To be read to its end or returned, as the call lasts until then. */
  async *chunks(response: IncomingMessage, silenceMs: number): AsyncGenerator<Buffer, void> {
    try {
      this.#expectWithin(silenceMs);
      for await (const chunk of response) {
        this.#expectWithin(silenceMs);
        yield chunk as Buffer;
      }
    } catch (thrown) {
      throw this.#silent ?? new BrokenOff(`the API server's answer breaks off: ${reasonOf(thrown)}`);
    } finally {
      this.#end();
    }
  }

  #expectWithin(silenceMs: number): void {
    this.#silence?.cancel();
    this.#silence = this.#clock.schedule(silenceMs, () => {
      this.#silent = new Error(`the API server has been silent for ${Math.round(silenceMs / 1000)} s`);
      this.#end();
    });
  }

  /** A request whose answer was read to its end has given its connection back, and loses nothing by this. */
  readonly #end = (): void => {
    this.#silence?.cancel();
    this.#signal.removeEventListener("abort", this.#end);
    this.#request.destroy();
  };
}

/** @returns undefined when it is too long */
async function gather(chunks: AsyncGenerator<Buffer, void>, mostBytes: number): Promise<string | undefined> {
  const gathered: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > mostBytes) return undefined;
    gathered.push(chunk);
  }
  return Buffer.concat(gathered).toString("utf8");
}

async function readText(file: string, what: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, "utf8")).trim();
  } catch (thrown) {
    throw new Error(`${what} cannot be read: ${reasonOf(thrown)}`);
  }
  if (text === "") throw new Error(`${what} cannot be read: ${file} is empty`);
  return text;
}

/** Why, from the Status object of an answer that refuses; something else that answers is not quoted. */
function reasonIn(body: string | undefined): string {
  try {
    const { message } = JSON.parse(body ?? "") as { readonly message?: unknown };
    if (typeof message === "string") return message.slice(0, 500);
  } catch {
    // Not a Status: said below.
  }
  return "no reason that Kubernetes would give";
}

/** Only whole seconds are understood, which is what Kubernetes sends; and no more than a minute of them. */
function retryAfterMs(header: string | undefined): number {
  return /^\d{1,9}$/.test(header ?? "") ? Math.min(Number(header), 60) * 1000 : 0;
}

/** A connection that failed on every address of a name has its reason in its code alone. */
function reasonOf(thrown: unknown): string {
  const { message, code } = thrown as { readonly message?: string; readonly code?: string };
  return message || code || "no reason";
}
