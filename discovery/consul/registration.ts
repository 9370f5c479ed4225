/**
 * Keeps this instance in Consul's catalogue from start to drain.
 *
 * Registering once is not enough: an agent that was restarted without its data has forgotten everybody, and
 * tells nobody. So the agent is asked now and then whether it still knows the instance.
 */
import type { Clock, Log, Random } from "../../core/index.ts";
import { backoffMs } from "../../resilience/index.ts";
import { sleep } from "../sleep.ts";
import type { ConsulAgent, ServiceRegistration } from "./agent.ts";

export interface RegistrationParts {
  readonly agent: Pick<ConsulAgent, "register" | "deregister" | "isRegistered">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const VERIFY_EVERY_MS = 2_000;
const BACKOFF = { baseMs: 200, maxMs: 5_000 };

export class Registration {
  readonly #service: ServiceRegistration;
  readonly #parts: RegistrationParts;
  readonly #stopped = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(service: ServiceRegistration, parts: RegistrationParts) {
    this.#service = service;
    this.#parts = parts;
  }

  /** Begins to register, and goes on until `stop`; a registry that is away delays it and fails nothing. */
  start(): void {
    this.#loop = this.#keep(this.#stopped.signal);
  }

  /** Deregisters. Resolves also when the agent could not be told. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#loop;
    const facts = { service: this.#service.name, id: this.#service.id };
    try {
      await this.#parts.agent.deregister(this.#service.id);
      this.#parts.log.info(facts, "deregistered");
    } catch (thrown) {
      this.#parts.log.warn({ ...facts, err: thrown }, "could not deregister");
    }
  }

  /** Stops asking and tells nobody, for an end without a drain. */
  abandon(): void {
    this.#stopped.abort();
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { agent, clock, random, log } = this.#parts;
    const { id, name } = this.#service;
    let registered = false;
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (!registered || !(await agent.isRegistered(id))) {
          if (signal.aborted) return;
          if (registered) log.warn({ service: name, id }, "the registry has forgotten this instance");
          await agent.register(this.#service);
          registered = true;
          log.info({ service: name, id }, "registered");
        }
        failures = 0;
        await sleep(clock, VERIFY_EVERY_MS * (0.75 + random.next() / 2), signal);
      } catch (thrown) {
        failures++;
        if (failures === 1) log.warn({ service: name, id, err: thrown }, "the registry does not answer");
        await sleep(clock, 50 + backoffMs(BACKOFF, failures, random), signal);
      }
    }
  }
}
