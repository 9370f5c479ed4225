/**
 * Registrations under test: with a real agent in real time, and in virtual time with one that does and answers what the
 * test says.
 */
import type { Clock } from "../../core/index.ts";
import {
  type ConsulAnswer,
  type ConsulCall,
  ConsulClient,
  ConsulRefusal,
} from "../../discovery/consul/client.ts";
import { Registration } from "../../discovery/consul/registration.ts";
import { type ServiceDefinition, serviceRegistration } from "../../discovery/consul/service-registration.ts";
import { createProbe } from "../../discovery/health/create-probe.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import type { App, Teardown } from "./apps.ts";
import { ManualClock } from "./manual-clock.ts";
import { seededRandom } from "./seeded-random.ts";
import { type LogRecord, logInto } from "./sidecar.ts";

/** An app that is its own sidecar: what is asked of the one reaches the other. */
export function serviceOf(app: Pick<App, "port">, check: Partial<ServiceDefinition["check"]> = {}) {
  const definition: ServiceDefinition = {
    name: "orders",
    id: "orders-1",
    address: "127.0.0.1",
    port: app.port,
    tags: ["blue", "v2"],
    meta: { owner: "us" },
    zone: "b",
    weight: 10,
    warningWeight: 2,
    // Consul looks once a second at most.
    check: { intervalMs: 100, timeoutMs: 1_000, deregisterAfterMs: 600_000, ...check },
  };
  return serviceRegistration(definition, { host: "127.0.0.1", port: app.port }, "host-1");
}

/** A registration with a real agent. */
export function kept(
  t: Teardown,
  address: string,
  service: ReturnType<typeof serviceOf>,
  clock: Clock = systemClock,
) {
  const records: LogRecord[] = [];
  // The longest wait: what is noticed is not noticed by asking again.
  const client = new ConsulClient({ address, waitMs: 600_000, tls: {} }, systemClock);
  const probe = createProbe(service.report?.probe ?? { type: "tcp" }, 1_000, systemClock);
  const parts = { client, clock, random: systemRandom, log: logInto(records).log, probe };
  const registration = new Registration(service, parts);
  t.teardown(() => {
    registration.abandon();
    client.close();
  });
  registration.start();
  const said = (message: string) => records.filter(({ msg }) => msg.includes(message)).length;
  return { registration, client, records, said };
}

interface Instance {
  readonly Service: { readonly ID: string; readonly [key: string]: unknown };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}

/** Blocks until what the registry says about `orders` fulfils this. */
export async function listed(
  address: string,
  holds: (instances: Instance[]) => boolean,
): Promise<Instance[]> {
  for (let index = 0; ; ) {
    const url = `${address}/v1/health/service/orders?wait=5s&index=${index}`;
    const response = await fetch(url, { headers: { connection: "close" } });
    const instances = (await response.json()) as Instance[];
    if (holds(instances)) return instances;
    index = Number(response.headers.get("x-consul-index"));
  }
}

export const statusIs =
  (status: string) =>
  ([instance]: Instance[]) =>
    instance?.Checks.find(({ CheckID }) => CheckID.startsWith("service:"))?.Status === status;
export const isThere = (instances: Instance[]) => instances.length === 1;
export const isGone = (instances: Instance[]) => instances.length === 0;
export const inMaintenance = ([instance]: Instance[]) =>
  instance?.Checks.some(({ CheckID }) => CheckID.startsWith("_service_maintenance")) === true;

export const WAIT_MS = 30_000;

export const ASK = "GET /agent/service/orders-1";
export const CHECKS = "GET /agent/checks";
export const LOOK = "GET /health/service/orders";
export const REGISTER = "PUT /agent/service/register";
export const MAINTAIN = "PUT /agent/service/maintenance/orders-1";
export const DEREGISTER = "PUT /agent/service/deregister/orders-1";
export const PASS = "PUT /agent/check/pass/service:orders-1";
export const FAIL = "PUT /agent/check/fail/service:orders-1";

/** An agent that does and answers what the test says, in virtual time. */
class ScriptedAgent implements Pick<ConsulClient, "get" | "put" | "options"> {
  readonly options = { address: "http://127.0.0.1:8500", waitMs: WAIT_MS, tls: {} };
  /** What was asked and told, in short. */
  readonly calls: string[] = [];
  away = false;
  /** It takes each of these calls, and never answers. */
  hangs: readonly string[] = [];
  /** It answers each of these calls with 500. */
  refuses: readonly string[] = [];
  /** What it says of the instance, whatever it was told. */
  insists: (() => ConsulAnswer) | undefined;
  known = false;
  /** Why the instance is in maintenance. */
  maintenance: string | undefined;
  #version = 1;
  #changed = Promise.withResolvers<void>();
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  get(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#take("GET", call);
  }

  put(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#take("PUT", call);
  }

  count(call: string): number {
    return this.calls.filter((made) => made === call).length;
  }

  forget(): void {
    this.known = false;
    this.maintenance = undefined;
    this.#change();
  }

  async #take(method: string, call: ConsulCall): Promise<ConsulAnswer> {
    // As the client does.
    if (call.signal?.aborted === true) throw new Error("no longer wanted");
    const path = call.path.replace(/\{(\w+)\}/, (_, name) => call.params?.[name] ?? "?");
    const name = `${method} ${path}`;
    this.calls.push(name);
    if (this.away) throw new Error("connect ECONNREFUSED");
    if (this.hangs.includes(name)) {
      await this.#pass(call.timeoutMs ?? 5_000, call);
      throw new Error("request timed out");
    }
    if (this.refuses.includes(name))
      throw new ConsulRefusal(500, "the agent answered 500: No cluster leader");
    return name === ASK ? this.#instance(call) : answer(this.#answer(name, call));
  }

  #answer(name: string, { query }: ConsulCall): unknown {
    const check = { CheckID: "_service_maintenance:orders-1", Status: "critical", Notes: this.maintenance };
    const checks = this.maintenance === undefined ? [] : [check];
    switch (name) {
      case CHECKS:
        return Object.fromEntries(checks.map((one) => [one.CheckID, one]));
      case LOOK:
        return this.known
          ? [{ Service: { ID: "orders-1", Address: "127.0.0.1", Port: 1 }, Checks: checks }]
          : [];
      case REGISTER:
        this.known = true;
        // As a real one does, where existing checks are to be replaced.
        this.maintenance = undefined;
        this.#change();
        return undefined;
      case MAINTAIN:
        if (!this.known) throw new ConsulRefusal(404, "the agent answered 404: No service registered");
        this.maintenance = query?.["enable"] === "true" ? query["reason"] : undefined;
        return undefined;
      case DEREGISTER:
        this.forget();
        return undefined;
      default:
        return undefined;
    }
  }

  async #instance(call: ConsulCall): Promise<ConsulAnswer> {
    if (this.insists !== undefined) return this.insists();
    const blocks = this.known && call.query?.["hash"] === String(this.#version);
    if (blocks) await Promise.race([this.#pass(WAIT_MS, call), this.#changed.promise]);
    return this.known
      ? answer({}, { "x-consul-contenthash": String(this.#version) })
      : answer("unknown service ID", {}, 404);
  }

  #change(): void {
    this.#version++;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Resolves after a while; rejects when the call is called off. */
  #pass(ms: number, { signal }: ConsulCall): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = this.#clock.schedule(ms, resolve);
    signal?.addEventListener("abort", () => {
      timer.cancel();
      reject(new Error("request aborted"));
    });
    return promise;
  }
}

export const answer = (body: unknown, headers: ConsulAnswer["headers"] = {}, status = 200): ConsulAnswer => ({
  status,
  headers,
  body,
});

/** A registration with a scripted agent, not started yet. */
export function registered(check: Partial<ServiceDefinition["check"]> = {}) {
  const clock = new ManualClock();
  const agent = new ScriptedAgent(clock);
  const records: LogRecord[] = [];
  const app = { passing: true, asked: 0, answers: Promise.resolve() };
  const registration = new Registration(serviceOf({ port: 3000 }, check), {
    client: agent,
    clock,
    random: seededRandom(1),
    log: logInto(records).log,
    probe: async (_, signal) => {
      app.asked++;
      const calledOff = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      await Promise.race([app.answers, calledOff]);
      return { passing: app.passing, note: app.passing ? "connected" : "ECONNREFUSED" };
    },
  });
  const said = (message: string) => records.filter(({ msg }) => msg.includes(message)).length;
  return { clock, agent, app, records, registration, said };
}
