/**
 * The calls to a Consul agent, through the `consul` package, with its traps closed.
 *
 * Its typed methods are not used: they send a fixed list of fields (a registration loses its weights without a word),
 * and half of what a sidecar asks for is not among them. Its generic request is, with what it lacks added here: every
 * call has a time limit, a body that is cut off in the middle is an error at once instead of at that limit, one that is
 * longer than any list is not gathered, the reason of a refusal comes back as the agent said it, and the token never ends
 * up in an error.
 */
import { EventEmitter } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import type Consul from "consul";
import type { Clock } from "../../core/index.ts";
import { oneLine } from "../json-values.ts";
import type { ConsulOptions } from "./options.ts";
import { readTls } from "./tls.ts";
import { Token } from "./token.ts";

export interface ConsulAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed JSON, or text, or undefined without a body. */
  readonly body: unknown;
}

export interface ConsulCall {
  /** With `{name}` for each of `params`, such as `/health/service/{service}`. */
  readonly path: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Statuses that are an answer besides 2xx. */
  readonly accept?: readonly number[];
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** The agent has answered, and refused. */
export class ConsulRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ConsulRefusal";
    this.status = status;
  }
}

/** How long calls that do not block may take. */
export const CALL_MS = 5_000;
const MOST_OF_A_REASON = 200;
/** Tens of thousands of instances. What goes on for longer would take the memory of the traffic. */
const LARGEST_ANSWER_BYTES = 64 * 1024 * 1024;

/** What the package calls its state of a request, as far as it is used here. */
interface PapiRequest {
  readonly err?: Error & { statusCode?: number; isCodec?: true; code?: string };
  readonly res?: IncomingMessage & { body?: unknown };
  transport: { request(options: object): ClientRequest };
  sent?: ClientRequest;
}

/** A kept connection that the agent was closing: not a sign of anything. */
class StaleConnection extends Error {}

type Generic = Record<"_get" | "_put" | "_post", (call: object, finish: unknown) => Promise<ConsulAnswer>>;

export class ConsulClient {
  readonly options: ConsulOptions;
  readonly #token: Token;
  /** Loaded with the first call: a sidecar without a registry does not need the 13 MB. */
  #client: Promise<Consul> | undefined;
  #closed = false;

  constructor(options: ConsulOptions, clock: Clock) {
    this.options = options;
    this.#token = new Token(options.token, options.tokenFile, clock);
  }

  /**
   * Asks.
   * @throws ConsulRefusal for a status that is neither 2xx nor accepted, Error when there is no answer
   */
  get(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#send("_get", call);
  }

  /** @throws ConsulRefusal, Error */
  put(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#send("_put", call);
  }

  /** @throws ConsulRefusal, Error */
  post(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#send("_post", call);
  }

  /** Closes kept connections, and cuts those on which something is asked. */
  close(): void {
    this.#closed = true;
    void this.#client?.then(
      (client) => client.destroy(),
      () => {},
    );
  }

  async #send(method: keyof Generic, call: ConsulCall): Promise<ConsulAnswer> {
    const loading = this.#loaded();
    try {
      return await this.#sendUntilMet(await loading, method, call);
    } catch (thrown) {
      // Certificates are renewed by others: what fails for an old one is tried with what is there then.
      if (!(thrown instanceof ConsulRefusal) && this.options.address.startsWith("https:"))
        this.#forget(loading);
      throw thrown;
    }
  }

  /** The next call makes a client anew; what is being asked with this one goes on. */
  #forget(loading: Promise<Consul>): void {
    if (this.#client === loading) this.#client = undefined;
  }

  /**
   * Once more for each kept connection that proves to be closed; the last attempt is on one of its own. Whatever is asked
   * for here may be asked for twice. But not with the index that it had: the agent may have closed its connections
   * as it ended, and one that has begun anew would have us wait for a past that it does not know.
   */
  async #sendUntilMet(client: Consul, method: keyof Generic, call: ConsulCall): Promise<ConsulAnswer> {
    let sent = call;
    for (;;) {
      try {
        return await this.#sendBy(client, method, sent);
      } catch (thrown) {
        if (!(thrown instanceof StaleConnection) || this.#closed || call.signal?.aborted === true)
          throw thrown;
        const { index: _, hash: __, wait: ___, ...query } = call.query ?? {};
        sent = { ...call, query, timeoutMs: Math.min(call.timeoutMs ?? CALL_MS, CALL_MS) };
      }
    }
  }

  async #sendBy(client: Consul, method: keyof Generic, call: ConsulCall): Promise<ConsulAnswer> {
    const { signal, accept = [], timeoutMs = CALL_MS } = call;
    const token = await this.#token.current();
    if (signal?.aborted === true) throw new Error("no longer wanted");
    const ctx = new EventEmitter();
    const cancel = () => ctx.emit("cancel");
    signal?.addEventListener("abort", cancel);
    try {
      const answer = await (client as unknown as Generic)[method](
        {
          path: call.path,
          params: { ...call.params },
          query: { ...this.#scope(), ...call.query },
          headers: token === undefined ? {} : { "x-consul-token": token },
          ...(call.body === undefined ? {} : { body: call.body, type: "json" }),
          timeout: timeoutMs,
          ctx,
          exts: { onRequest: watchForCuts },
        },
        finish,
      );
      if ((answer.status >= 200 && answer.status < 300) || accept.includes(answer.status)) return answer;
      if (answer.status === 403) this.#token.refused();
      throw new ConsulRefusal(answer.status, refusal(answer));
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #scope(): Record<string, string> {
    const { datacenter, namespace, partition } = this.options;
    return {
      ...(datacenter === undefined ? {} : { dc: datacenter }),
      ...(namespace === undefined ? {} : { ns: namespace }),
      ...(partition === undefined ? {} : { partition }),
    };
  }

  #loaded(): Promise<Consul> {
    this.#client ??= createClient(this.options).catch((thrown: unknown) => {
      // A certificate that is not there yet may be there for the next call.
      this.#client = undefined;
      throw thrown;
    });
    return this.#client;
  }
}

async function createClient(options: ConsulOptions): Promise<Consul> {
  const { default: Client } = await import("consul");
  const { address, basicAuth } = options;
  const unix = address.startsWith("unix://");
  const url = new URL(unix ? "http://localhost" : address);
  url.pathname = "/v1";
  const secure = url.protocol === "https:";
  const { Agent } = secure ? await import("node:https") : process.getBuiltinModule("node:http");
  return new Client({
    baseUrl: url,
    // As many connections as there are questions that block; kept, as most questions come again.
    agent: new Agent({ keepAlive: true, ...(secure ? readTls(options.tls) : {}) } as object),
    ...(unix ? { socketPath: address.slice("unix://".length) } : {}),
    // By itself the package leaves the colon out when there is no password.
    ...(basicAuth === undefined ? {} : { headers: { authorization: basic(basicAuth) } }),
  } as never);
}

function basic(userAndPassword: string): string {
  const whole = userAndPassword.includes(":") ? userAndPassword : `${userAndPassword}:`;
  return `Basic ${Buffer.from(whole).toString("base64")}`;
}

/**
 * The package does not listen for an answer that ends before its end, takes one that has none, and hands an address of
 * IPv6 on in its brackets.
 */
function watchForCuts(request: PapiRequest, next: () => void): void {
  const { transport } = request;
  request.transport = {
    request(options: { readonly hostname?: string }) {
      const { hostname } = options;
      const sent = transport.request(
        hostname === undefined ? options : { ...options, hostname: hostname.replace(/^\[|\]$/g, "") },
      );
      request.sent = sent;
      sent.once("response", (answer: IncomingMessage) => {
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes <= LARGEST_ANSWER_BYTES) return;
          sent.emit("error", new Error(`the agent's answer is longer than ${LARGEST_ANSWER_BYTES} bytes`));
          sent.destroy();
        });
        answer.once("error", (err) => sent.emit("error", err));
        answer.once("close", () => {
          if (!answer.complete) sent.emit("error", new Error("the agent's answer was cut off"));
        });
      });
      return sent;
    },
  };
  next();
}

/** Ends the package's pipeline with the answer whatever its status; errors hold the whole exchange, and none leaves here. */
function finish(request: PapiRequest, next: (stop: false, err?: Error, answer?: ConsulAnswer) => void): void {
  const { err, res } = request;
  const status = res?.statusCode ?? 0;
  // A refusal whose words are not of the type that it names is a refusal all the same.
  const answered =
    err === undefined || err.statusCode !== undefined || (err.isCodec === true && status >= 300);
  if (!answered || res === undefined) {
    // Where a name has several addresses and none of them answers, there is a code and no message.
    const why = (err?.message || err?.code || "no answer").replace(/^(?:consul: )+/, "");
    const isStale =
      res === undefined &&
      request.sent?.reusedSocket === true &&
      (err?.code === "ECONNRESET" || err?.code === "EPIPE");
    next(false, isStale ? new StaleConnection(why) : new Error(why));
    return;
  }
  const { headers, body } = res;
  next(false, undefined, { status, headers, body: Buffer.isBuffer(body) ? body.toString() : body });
}

function refusal({ status, body }: ConsulAnswer): string {
  const reason = typeof body === "string" ? oneLine(body, MOST_OF_A_REASON) : "";
  // What a proxy in between says in HTML helps nobody.
  if (reason === "" || reason.startsWith("<")) return `the agent answered ${status}`;
  return `the agent answered ${status}: ${reason}`;
}
