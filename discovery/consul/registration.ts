/**
 * Keeps this instance in Consul's catalogue from start to drain.
 *
 * Registering once is not enough: an agent that was restarted without its data has forgotten everybody, and tells nobody;
 * and one may be told to forget an instance that was critical for too long. So the registration is followed with a query that
 * blocks on the instance itself: it returns at once when the instance is gone, and costs one request a minute otherwise.
 *
 * Leaving has an order. First maintenance, which is a wish and is believed at once by everybody who follows the service,
 * where a mere absence might be taken for a registry in trouble. Then, when the registry shows it, the registration ends.
 */
import type { Clock, Log, Random } from "../../core/index.ts";
import { backoffMs } from "../../resilience/index.ts";
import type { Probe } from "../health/probe.ts";
import { field, list, text } from "../json-values.ts";
import { sleep } from "../sleep.ts";
import { TokenBucket } from "../token-bucket.ts";
import { CALL_MS, type ConsulAnswer, type ConsulClient, ConsulRefusal } from "./client.ts";
import { readHealthEntries } from "./health-entries.ts";
import type { ServiceRegistration } from "./service-registration.ts";
import { waitLimitMs } from "./watch.ts";

export interface RegistrationParts {
  readonly client: Pick<ConsulClient, "get" | "put" | "options">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** For a check with a time to live: asks the app. */
  readonly probe: Probe;
}

const BACKOFF = { baseMs: 200, maxMs: 5_000 };
/** A bound on what never blocks, such as an address behind which each call meets another agent. */
const BURST = 10;
const QUERIES_PER_SECOND = 1;
/** How long leaving may take: whoever ends the process waits for it. */
const LEAVE_WITHIN_MS = 5_000;
/** How long the registry may take to show what it was told. */
const SHOWN_WITHIN_MS = 2_000;
const LOOK_AGAIN_MS = 50;
/** What those who follow the service need to hear of it, once the registry shows it. */
const HEARD_MS = 150;
const LEAVING = "heddle is draining; ended when it starts again";

export class Registration {
  readonly #service: ServiceRegistration;
  readonly #parts: RegistrationParts;
  readonly #stopped = new AbortController();
  /** Leaving has taken too long. */
  readonly #late = new AbortController();
  /** The agent has just learned of the instance, and knows nothing of its health. */
  #reportNow: (() => void) | undefined;
  #loops: Promise<unknown> = Promise.resolve();
  #registered = false;
  /** The agent has shown the instance since it was last told of it. */
  #seen = false;
  /** Why the instance was in maintenance when it was found. */
  #maintenance: string | undefined;

  constructor(service: ServiceRegistration, parts: RegistrationParts) {
    this.#service = service;
    this.#parts = parts;
  }

  /** Begins to register, and goes on until `stop`; a registry that is away delays it and fails nothing. */
  start(): void {
    const { signal } = this.#stopped;
    this.#loops = Promise.all([this.#keep(signal), this.#report(signal)]);
  }

  /** The agent has been told of this instance. */
  get registered(): boolean {
    return this.#registered;
  }

  /** Takes the instance out, and resolves when others have seen it, or when that cannot be waited for. */
  async stop(): Promise<void> {
    const { client, log, clock } = this.#parts;
    const { id, name } = this.#service;
    const facts = { service: name, id };
    const { signal } = this.#late;
    const limit = clock.schedule(LEAVE_WITHIN_MS, () => this.#late.abort());
    this.#stopped.abort();
    try {
      await this.#loops;
      if (await this.#announce(signal)) {
        await this.#shown(({ listed, usable }) => !listed || !usable);
        await sleep(clock, HEARD_MS, signal);
      }
      await client.put({ path: "/agent/service/deregister/{id}", params: { id }, accept: [404], signal });
      await this.#shown(({ listed }) => !listed);
      log.info(facts, "deregistered");
    } catch (thrown) {
      const why = signal.aborted ? `no answer within ${LEAVE_WITHIN_MS} ms` : (thrown as Error).message;
      log.warn({ ...facts, why }, "could not deregister");
    } finally {
      limit.cancel();
    }
  }

  /** Stops asking and tells nobody, for an end without a drain. */
  abandon(): void {
    this.#stopped.abort();
  }

  /** Begins the maintenance. An agent that refuses it, as it has forgotten the instance, can still be told the rest. */
  async #announce(signal: AbortSignal): Promise<boolean> {
    try {
      await setMaintenance(this.#parts.client, this.#service.id, true, signal);
      return true;
    } catch (thrown) {
      if (thrown instanceof ConsulRefusal) return false;
      throw thrown;
    }
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#parts;
    const { id, name } = this.#service;
    const bucket = new TokenBucket(BURST, QUERIES_PER_SECOND, clock.now());
    let hash = "";
    let failures = 0;
    let untrue = false;
    while (!signal.aborted) {
      const restMs = bucket.take(clock.now());
      if (restMs > 0) await sleep(clock, restMs, signal);
      if (signal.aborted) return;
      try {
        const known = await this.#ask(hash, signal);
        if (known === undefined) {
          if (signal.aborted) return;
          if (this.#seen) log.warn({ service: name, id }, "the registry has forgotten this instance");
          else if (this.#registered && !untrue) {
            // Once: it is told again each second for as long as this lasts.
            untrue = true;
            log.warn(
              { service: name, id },
              "the registry takes the registration, and does not show the instance",
            );
          }
          await this.#register(signal);
          hash = "";
        } else {
          // Registered by an earlier life of ours, perhaps with other settings, perhaps in maintenance.
          if (!this.#registered) await this.#register(signal);
          this.#seen = true;
          untrue = false;
          // Where there is no hash to wait for, an answer that comes at once must not make a busy loop.
          if (known === hash || known === "") await sleep(clock, 1_000 * (0.75 + random.next() / 2), signal);
          hash = known;
        }
        failures = 0;
      } catch (thrown) {
        if (signal.aborted) return;
        hash = "";
        failures++;
        if (failures === 1)
          log.warn({ service: name, id, why: (thrown as Error).message }, "the registry does not answer");
        await sleep(clock, 50 + backoffMs(BACKOFF, failures, random), signal);
        // An agent that comes back has its checks, but not what they were told.
        this.#reportNow?.();
      }
    }
  }

  /** The hash of the instance as the agent knows it, once it is not `hash`; undefined when it does not know it. */
  async #ask(hash: string, signal: AbortSignal): Promise<string | undefined> {
    const { client } = this.#parts;
    const { waitMs } = client.options;
    const answer: ConsulAnswer = await client.get({
      path: "/agent/service/{id}",
      params: { id: this.#service.id },
      query: hash === "" ? {} : { hash, wait: `${Math.round(waitMs)}ms` },
      accept: [404],
      signal,
      timeoutMs: hash === "" ? CALL_MS : waitLimitMs(waitMs),
    });
    if (answer.status === 404) return undefined;
    const known = answer.headers["x-consul-contenthash"];
    return typeof known === "string" ? known : "";
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#parts;
    const { id, name, body } = this.#service;
    // Not given up when the end comes, which must not be overtaken by it.
    const late = this.#late.signal;
    if (!this.#registered) this.#maintenance ??= await maintenanceOf(client, id, late);
    // Without this, checks of an earlier life go on. With it, the agent ends any maintenance, also that of somebody else.
    const query = { "replace-existing-checks": "true" };
    await client.put({ path: "/agent/service/register", query, body, signal: late });
    if (signal.aborted) return;
    if (!this.#registered && this.#maintenance !== undefined)
      await setMaintenance(client, id, this.#maintenance !== LEAVING, late, this.#maintenance);
    if (!this.#registered || this.#seen) log.info({ service: name, id }, "registered");
    this.#registered = true;
    this.#seen = false;
    this.#reportNow?.();
  }

  /** With a time to live: asks the app and tells the agent, again and again. */
  async #report(signal: AbortSignal): Promise<void> {
    const { report } = this.#service;
    if (report === undefined) return;
    const { client, clock, random, log, probe } = this.#parts;
    let told: boolean | undefined;
    while (!signal.aborted) {
      // From here on, so that it is not missed while the app is being asked.
      const woken = new AbortController();
      this.#reportNow = () => woken.abort();
      const { passing, note } = await probe(report.ask, signal);
      if (signal.aborted) return;
      try {
        if (this.#registered)
          await client.put({
            path: passing ? "/agent/check/pass/{check}" : "/agent/check/fail/{check}",
            params: { check: report.checkId },
            query: { note },
            signal,
          });
        if (told !== passing)
          log.info({ check: report.checkId, passing, note }, "told the registry how the app is");
        told = passing;
      } catch (thrown) {
        // The agent does not know the check, or is away: the other loop sees to that.
        if (!(thrown instanceof ConsulRefusal)) told = undefined;
      }
      await sleep(
        clock,
        report.intervalMs * (0.9 + random.next() / 10),
        AbortSignal.any([signal, woken.signal]),
      );
    }
  }

  /** Waits until the registry, not only the agent, shows the instance as it should be; not for long, and fails nothing. */
  async #shown(
    isSo: (seen: { readonly listed: boolean; readonly usable: boolean }) => boolean,
  ): Promise<void> {
    const { client, clock } = this.#parts;
    const { id, name } = this.#service;
    const { signal } = this.#late;
    const untilMs = clock.now() + SHOWN_WITHIN_MS;
    for (let leftMs = SHOWN_WITHIN_MS; leftMs > 0 && !signal.aborted; leftMs = untilMs - clock.now()) {
      try {
        const { body } = await client.get({
          path: "/health/service/{service}",
          params: { service: name },
          signal,
          timeoutMs: leftMs,
        });
        const mine = list(body).filter((entry) => field(field(entry, "Service"), "ID") === id);
        const reading = readHealthEntries(mine, { source: "" });
        const usable = reading?.instances.some(({ health }) => health === "passing" || health === "warning");
        if (isSo({ listed: mine.length > 0, usable: usable === true })) return;
      } catch {
        // The agent may know no server just now: it does not show anything, and can be told all the same.
      }
      await sleep(clock, LOOK_AGAIN_MS, signal);
    }
  }
}

/** @throws Error */
export async function setMaintenance(
  client: Pick<ConsulClient, "put">,
  id: string,
  enable: boolean,
  signal?: AbortSignal,
  reason: string = LEAVING,
): Promise<void> {
  await client.put({
    path: "/agent/service/maintenance/{id}",
    params: { id },
    query: { enable: String(enable), ...(enable ? { reason } : {}) },
    ...(signal === undefined ? {} : { signal }),
  });
}

/**
 * Ends a maintenance that heddle has begun, and none that somebody else has.
 * @throws Error
 */
export async function endMaintenance(
  client: Pick<ConsulClient, "get" | "put">,
  id: string,
): Promise<boolean> {
  const ours = (await maintenanceOf(client, id)) === LEAVING;
  if (ours) await setMaintenance(client, id, false);
  return ours;
}

/** Why the instance is in maintenance; undefined when it is not. */
async function maintenanceOf(
  client: Pick<ConsulClient, "get">,
  id: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { body } = await client.get({
    path: "/agent/checks",
    ...(signal === undefined ? {} : { signal }),
  });
  const check = field(body, `_service_maintenance:${id}`);
  return check === undefined
    ? undefined
    : (text(field(check, "Notes")) ?? text(field(check, "Output")) ?? "");
}
