/**
 * The calls to a Consul agent, through the `consul` package, with its traps closed: every call has a time limit
 * (a body that is cut off in the middle would hang for ever), the index comes back with the answer, and what
 * registration needs beyond the package's fixed list of fields goes through its generic request.
 */
import { EventEmitter } from "node:events";
import type Consul from "consul";

export interface ConsulOptions {
  /** `http://host:port`. */
  readonly address: string;
  readonly token?: string | undefined;
  readonly datacenter?: string | undefined;
  /** How long a blocking query may block. */
  readonly waitMs: number;
}

export interface HealthAnswer {
  /** X-Consul-Index; 0 when the answer has none. */
  readonly index: number;
  readonly body: unknown;
}

export interface ServiceRegistration {
  readonly id: string;
  readonly name: string;
  /** Empty for the agent's own address. */
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly check: {
    /** A URL to GET, or undefined for a TCP connect. */
    readonly http: string | undefined;
    /** `host:port` for the TCP connect. */
    readonly tcp: string;
    /** `host:port` of the sidecar, for a TCP connect beside the check of the app; undefined when that goes through it. */
    readonly sidecar: string | undefined;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly deregisterAfterMs: number;
  };
}

/** How long calls that do not block may take. */
const CALL_MS = 5_000;
/** What the agent adds to a wait: a sixteenth at most, and a little for the way. */
const waitLimitMs = (waitMs: number) => (waitMs * 17) / 16 + 3_000;

/** The client's answers when it is asked to include the response. */
type WithResponse = readonly [{ readonly headers: Readonly<Record<string, string | undefined>> }, unknown];

/** A context that makes the client include the response, and that ends the call on `cancel`. */
class CallContext extends EventEmitter {
  readonly includeResponse = true;
}

export class ConsulAgent {
  /** Loaded with the first call: a sidecar without a registry does not need the 13 MB. */
  #client: Promise<Consul> | undefined;
  readonly #options: ConsulOptions;

  constructor(options: ConsulOptions) {
    this.#options = options;
  }

  /**
   * The instances of a service with all their checks. Blocks until the index has passed `index`, unless it is 0.
   * @throws Error when the agent does not answer, or not with 2xx
   */
  async health(service: string, index: number, signal: AbortSignal): Promise<HealthAnswer> {
    const blocking = index > 0;
    const { waitMs } = this.#options;
    const query = {
      service,
      timeout: blocking ? waitLimitMs(waitMs) : CALL_MS,
      ...(blocking ? { index: String(index), wait: `${Math.round(waitMs)}ms` } : {}),
    };
    const [response, body] = await this.#call(signal, (client, ctx) =>
      client.health.service({ ...query, ctx } as never),
    );
    return { index: indexOf(response.headers["x-consul-index"]), body };
  }

  /** @throws Error */
  async register(service: ServiceRegistration): Promise<void> {
    const { check } = service;
    const often = {
      interval: `${Math.round(check.intervalMs)}ms`,
      timeout: `${Math.round(check.timeoutMs)}ms`,
      deregistercriticalserviceafter: `${Math.round(check.deregisterAfterMs / 1000)}s`,
    };
    const app = check.http === undefined ? { tcp: check.tcp } : { http: check.http };
    await plainly(
      (await this.#loaded()).agent.service.register({
        id: service.id,
        name: service.name,
        ...(service.address === "" ? {} : { address: service.address }),
        port: service.port,
        tags: [...service.tags],
        meta: { ...service.meta },
        checks: [
          { name: service.name, ...app, ...often },
          ...(check.sidecar === undefined ? [] : [{ name: "its sidecar", tcp: check.sidecar, ...often }]),
        ],
        timeout: CALL_MS,
      } as never),
    );
  }

  /** @throws Error */
  async deregister(id: string): Promise<void> {
    await plainly((await this.#loaded()).agent.service.deregister({ id, timeout: CALL_MS } as never));
  }

  /**
   * Whether the agent still knows this instance.
   * @throws Error
   */
  async isRegistered(id: string): Promise<boolean> {
    const services = await plainly((await this.#loaded()).agent.service.list({ timeout: CALL_MS } as never));
    return typeof services === "object" && services !== null && Object.hasOwn(services, id);
  }

  /** Closes kept connections. */
  close(): void {
    void this.#client?.then((client) => client.destroy());
  }

  #loaded(): Promise<Consul> {
    this.#client ??= createClient(this.#options);
    return this.#client;
  }

  async #call(
    signal: AbortSignal,
    begin: (client: Consul, ctx: CallContext) => Promise<unknown>,
  ): Promise<WithResponse> {
    const client = await this.#loaded();
    const ctx = new CallContext();
    const cancel = () => ctx.emit("cancel");
    signal.addEventListener("abort", cancel);
    if (signal.aborted) throw new Error("no longer wanted");
    try {
      return (await plainly(begin(client, ctx))) as WithResponse;
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }
}

async function createClient({ address, token, datacenter }: ConsulOptions): Promise<Consul> {
  const { default: Client } = await import("consul");
  const url = new URL(address);
  const defaults: Record<string, string> = {};
  if (token !== undefined) defaults["token"] = token;
  if (datacenter !== undefined) defaults["dc"] = datacenter;
  return new Client({
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
    secure: url.protocol === "https:",
    defaults,
  });
}

/** The package's errors hold the whole exchange with the agent, its token included: none of them leaves this file. */
async function plainly<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const { statusCode, message } = thrown as { statusCode?: number; message: string };
    throw new Error(statusCode === undefined ? message : `the agent answered ${statusCode}`);
  }
}

function indexOf(header: string | undefined): number {
  const index = Number(header);
  return Number.isSafeInteger(index) && index > 0 ? index : 0;
}
