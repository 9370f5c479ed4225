/**
 * A data plane in a worker thread, driven by messages.
 *
 * Threads and not processes: they share the program's code pages and one log, and end with the process whatever happens.
 * Each opens the same ports with SO_REUSEPORT and the kernel divides the connections; why not one that accepts and hands
 * over is in docs/decisions/0012-workers-share-their-ports.md.
 */
import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import type { Endpoint } from "../../core/index.ts";
import type { RunningFault } from "../../resilience/index.ts";
import type { ProcessLog } from "../../telemetry/index.ts";
import type { Plane, PlaneAddresses, PlaneSettings } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";
import type { Leaving } from "../drain.ts";
import type { Leads, ListenerPlan, Plan } from "../plan.ts";
import type { PlaneReport } from "../report.ts";
import type { BreakerCommand } from "../route-breakers.ts";
import { systemClock } from "../system.ts";
import type { Situation } from "../upstream/index.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./messages.ts";
import { startThread } from "./program.ts";

/** How long a thread may take to do what it is asked to at once. */
const HUNG_MS = 2_000;

export class WorkerPlane implements Plane {
  /** Which of the workers it is, from 0 on; one that takes the place of another has its number. */
  readonly number: number;
  readonly #worker: Worker;
  readonly #log: ProcessLog;
  readonly #exited: Promise<unknown>;
  readonly #started = Promise.withResolvers<PlaneAddresses>();
  readonly #letGo = Promise.withResolvers<void>();
  readonly #drained = Promise.withResolvers<void>();
  readonly #questions = new Map<number, PromiseWithResolvers<PlaneReport>>();
  readonly #listening = new Map<number, PromiseWithResolvers<ListenAddress | undefined>>();
  readonly #onWanted: (name: string) => void;
  #asked = 0;
  #over = false;
  #lastReport: PlaneReport | undefined;
  #ending = false;

  /** @param onLost told once when the thread has ended without being asked to */
  constructor(
    number: number,
    inFlight: Int32Array,
    settings: PlaneSettings,
    log: ProcessLog,
    onLost: (plane: WorkerPlane) => void,
  ) {
    this.number = number;
    this.#log = log;
    this.#onWanted = settings.onWanted;
    const { accessLog, inheritDeadlines, mayInject, overload, policies, retrySwitch, wayIn } = settings;
    const workerData: WorkerSettings = {
      accessLog,
      inheritDeadlines,
      mayInject,
      overload,
      policies,
      wayIn,
      logLevel: log.level,
      retriesEnabled: retrySwitch.enabled,
      inFlight,
      number,
    };
    this.#worker = startThread(workerData);
    this.#exited = once(this.#worker, "exit").catch(() => {});
    // Nobody awaits these if the thread ends early.
    this.#started.promise.catch(() => {});
    this.#drained.promise.catch(() => {});
    this.#worker.on("message", (message: FromWorker) => this.#hear(message));
    this.#worker.on("error", (err) => log.log.error({ err }, "a worker failed"));
    this.#worker.on("exit", () => {
      this.#over = true;
      const reason = new Error("the worker has ended");
      this.#started.reject(reason);
      this.#drained.resolve();
      for (const { reject } of this.#questions.values()) reject(reason);
      for (const { reject } of this.#listening.values()) reject(reason);
      this.#questions.clear();
      this.#listening.clear();
      if (!this.#ending) onLost(this);
    });
  }

  start(plan: Plan, at: PlaneAddresses = {}): Promise<PlaneAddresses> {
    this.#say({ say: "start", plan, at });
    return this.#started.promise;
  }

  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void {
    this.#say({ say: "lead", name, leads, endpoints });
  }

  listen(
    name: string,
    plan: ListenerPlan | undefined,
    at?: ListenAddress,
  ): Promise<ListenAddress | undefined> {
    if (this.#over) return Promise.reject(new Error("the worker has ended"));
    const question = ++this.#asked;
    const answer = Promise.withResolvers<ListenAddress | undefined>();
    this.#listening.set(question, answer);
    this.#say({ say: "listen", question, name, plan, at });
    return answer.promise;
  }

  update(key: string, endpoints: readonly Endpoint[]): void {
    this.#say({ say: "update", key, endpoints });
  }

  situate(situation: Situation): void {
    this.#say({ say: "situate", situation });
  }

  force(command: BreakerCommand): void {
    this.#say({ say: "force", command });
  }

  injectFaults(faults: readonly RunningFault[]): void {
    this.#say({ say: "faults", faults });
  }

  /** @throws Error when the thread has ended, or does not answer */
  async report(): Promise<PlaneReport> {
    if (this.#over) throw new Error("the worker has ended");
    const question = ++this.#asked;
    const answer = Promise.withResolvers<PlaneReport>();
    this.#questions.set(question, answer);
    this.#say({ say: "report", question });
    const hung = systemClock.schedule(HUNG_MS, () => answer.reject(new Error("the worker does not answer")));
    try {
      return await answer.promise;
    } finally {
      hung.cancel();
      this.#questions.delete(question);
    }
  }

  /** Resolves in time even where the thread does not answer. */
  async drain({ graceMs, deregistered, app }: Leaving): Promise<void> {
    this.#say({ say: "drain", graceMs, endsApp: app !== undefined });
    void deregistered.then(() => this.#say({ say: "deregistered" }));
    void this.#letGo.promise.then(app?.letGo);
    void app?.ended.then(() => this.#say({ say: "appEnded" }));
    const hung = systemClock.schedule(graceMs + HUNG_MS, () => this.#drained.resolve());
    await this.#drained.promise;
    this.#letGo.resolve();
    hung.cancel();
  }

  async destroy(): Promise<void> {
    this.#ending = true;
    // It hangs up on its callers, hands over the last lines of its log, and ends.
    this.#say({ say: "destroy" });
    const hung = systemClock.schedule(HUNG_MS, () => void this.#worker.terminate());
    await this.#exited;
    hung.cancel();
  }

  /** The latest report that came; what a lost worker has counted stays counted. */
  get lastReport(): PlaneReport | undefined {
    return this.#lastReport;
  }

  setLogLevel(level: ProcessLog["level"]): void {
    this.#say({ say: "logLevel", level });
  }

  setRetries(enabled: boolean): void {
    this.#say({ say: "retries", enabled });
  }

  #say(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromWorker): void {
    switch (message.say) {
      case "started":
        this.#started.resolve(message.at);
        break;
      case "failed":
        this.#started.reject(new Error(message.message));
        break;
      case "wanted":
        this.#onWanted(message.name);
        break;
      case "listening": {
        const answer = this.#listening.get(message.question);
        this.#listening.delete(message.question);
        if (message.fault === undefined) answer?.resolve(message.at);
        else answer?.reject(new Error(message.fault));
        break;
      }
      case "report":
        this.#lastReport = message.report;
        this.#questions.get(message.question)?.resolve(message.report);
        break;
      case "letGo":
        this.#letGo.resolve();
        break;
      case "drained":
        this.#drained.resolve();
        break;
      case "log":
        this.#log.log[message.level](message.facts, message.message);
        break;
      case "access":
        this.#log.writeLines(message.lines);
        break;
    }
  }
}
