/**
 * What a mesh looks like to its users, for tests of what goes wrong in it: requests at a steady rate through a caller's
 * sidecar, and replicas with sidecars of their own, each a process that can be killed.
 */
import { Agent } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { type Answer, type App, call, startApp, type Teardown } from "./apps.ts";
import { eventually } from "./eventually.ts";
import { type SidecarProcess, startSidecar } from "./sidecar.ts";

/** Requests at a steady rate through one sidecar, whatever becomes of the earlier ones. */
export class Load {
  readonly name: string;
  readonly sidecar: SidecarProcess;
  /** How every fourth request is sent, with a body. */
  method = "PUT";
  answered = 0;
  /** What a client would complain about. */
  readonly faults: string[] = [];
  #sent = 0;
  #most = 0;
  readonly #agent = new Agent({ keepAlive: true });
  #ticks: NodeJS.Timeout | undefined;

  constructor(name: string, sidecar: SidecarProcess) {
    this.name = name;
    this.sidecar = sidecar;
  }

  begin(t: Teardown, perSecond: number): void {
    const startedAtMs = performance.now();
    this.#ticks = setInterval(() => {
      const due = ((performance.now() - startedAtMs) * perSecond) / 1000;
      while (this.#sent < due) void this.#send(this.#sent++);
    }, 5);
    t.teardown(() => {
      clearInterval(this.#ticks);
      this.#agent.destroy();
    });
  }

  /** Requests so far. */
  get sent(): number {
    return this.#sent;
  }

  get inFlight(): number {
    return this.#sent - this.answered - this.faults.length;
  }

  /** Most requests that were in flight together since this was last asked. */
  takeMost(): number {
    const most = this.#most;
    this.#most = 0;
    return most;
  }

  /** Resolves when so many more requests have been answered. */
  async go(requests: number): Promise<void> {
    const until = this.answered + requests;
    await eventually(`${requests} more answers`, async () => this.answered >= until);
  }

  /** Sends no more, and resolves when all have ended. */
  async end(): Promise<void> {
    clearInterval(this.#ticks);
    await eventually("the last answer", async () => this.inFlight === 0);
  }

  /** Those that are used, of `orders`. */
  async endpoints(): Promise<string[]> {
    type Page = Record<string, { endpoints: { address: string; used: boolean }[] }>;
    const { orders } = await this.sidecar.admin.json<Page>("/endpoints");
    const used = (orders?.endpoints ?? []).filter((endpoint) => endpoint.used);
    return used.map(({ address }) => address).sort();
  }

  async lists(replicas: readonly Replica[]): Promise<void> {
    const wanted = replicas.map(({ address }) => address).sort();
    await eventually(`endpoints ${wanted}`, async () => `${await this.endpoints()}` === `${wanted}`);
  }

  /** Resolves when the registry is heard again, and believed. */
  async hears(): Promise<void> {
    await eventually("the registry to be heard", async () => (await this.state()) === "current");
  }

  /** How the source of `orders` is. */
  async state(): Promise<string> {
    type Page = Record<string, { sources: { state: string }[] }>;
    const { orders } = await this.sidecar.admin.json<Page>("/endpoints");
    return orders?.sources[0]?.state ?? "not there";
  }

  /** What its sidecar has counted. */
  async attempts(): Promise<{ all: number; failed: number; opened: number; outcomes: string }> {
    const { admin } = this.sidecar;
    const series = await admin.series("heddle_attempts_total");
    const count = (counted: typeof series) => counted.reduce((sum, { value }) => sum + value, 0);
    return {
      all: count(series),
      failed: count(series.filter(({ labels }) => labels["outcome"] !== "success")),
      opened: await admin.metric("heddle_breaker_opened_total"),
      outcomes: series.map(({ labels, value }) => `${value} ${labels["outcome"]}`).join(", "),
    };
  }

  async #send(n: number): Promise<void> {
    this.#most = Math.max(this.#most, this.inFlight);
    const body = n % 4 === 0 ? "four pages of order ".repeat(n % 80) : "";
    const method = n % 4 === 0 ? this.method : "GET";
    const path = `/${this.name}/${n}`;
    try {
      const { outbound } = this.sidecar.addresses;
      const reply = await call(outbound.port, "orders", { agent: this.#agent, method, path, body });
      if (reply.status === 200 && reply.body === `${path} ${body}`) this.answered++;
      else this.faults.push(`${method} ${path}: ${reply.status} ${reply.body.slice(0, 200)}`);
    } catch (thrown) {
      this.faults.push(`${method} ${path}: ${(thrown as Error).message}`);
    }
  }
}

/** One instance of `orders`: an app and its sidecar, which keeps its port over restarts. */
export class Replica {
  readonly id: string;
  readonly address: string;
  /** Requests served, by the name of the load. */
  readonly served: Record<string, number> = {};
  app!: App;
  sidecar!: SidecarProcess;
  readonly #startSidecar: () => Promise<SidecarProcess>;

  /**
   * @param consul the settings of `discovery.consul`
   * @param check those of `service.check`
   */
  constructor(t: Teardown, consul: object, id: string, port: number, check: object = { interval: "1s" }) {
    this.id = id;
    this.address = `127.0.0.1:${port}`;
    this.#startSidecar = () =>
      startSidecar(t, {
        service: { name: "orders", id, port: this.app.port, check },
        inbound: { listen: this.address },
        discovery: { consul },
        telemetry: { accessLog: false },
      });
  }

  async start(t: Teardown): Promise<this> {
    this.app = await startApp(t, this.#answer);
    this.sidecar = await this.#startSidecar();
    return this;
  }

  async kill(): Promise<void> {
    await Promise.all([this.sidecar.kill(), this.app.stop()]);
  }

  async startAgain(): Promise<void> {
    await this.app.start();
    this.sidecar = await this.#startSidecar();
  }

  /** Says what was sent, so that a body that came in part is noticed; slowly, so that there is always one under way. */
  #answer: Answer = async (request, response) => {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    const [, load = ""] = request.url?.split("/") ?? [];
    this.served[load] = (this.served[load] ?? 0) + 1;
    await pause(10);
    response.end(`${request.url} ${text}`);
  };
}
