/**
 * Which proxy of the agent we are, and what it is to do: found by the service instance that it stands beside, and followed
 * as it changes, together with what central configuration says about it.
 *
 * Who is nobody's sidecar is told so at once and ends, as with Consul's own proxy: a misspelt id would otherwise look like
 * a registry that is slow. An agent that does not answer is waited for, or does without: what it said last is kept.
 */
import { delay } from "../../core/index.ts";
import {
  type ConsulRegistry,
  endMaintenance,
  type LastGood,
  proxiesFor,
  proxyDefaultsQuery,
  type SidecarDefinition,
  serviceDefaultsQuery,
  setMaintenance,
  sidecarQuery,
} from "../../discovery/index.ts";
import type { StackParts } from "../stack.ts";
import { type CentralTuning, NO_TUNING } from "./sidecar-plan.ts";

export interface SidecarFollowerParts extends Pick<StackParts, "clock" | "random" | "log"> {
  readonly registry: ConsulRegistry;
  readonly lastGood: LastGood;
  readonly onChange: (definition: SidecarDefinition, central: CentralTuning) => void;
}

/** Who we are: the id of the instance that we stand beside, or of the proxy itself. */
export type SidecarOf = { readonly sidecarFor: string } | { readonly proxyId: string };

/** How long an agent that does not answer is waited for before what it said last is used. */
const COPY_AFTER_MS = 1_000;
const ASK_AGAIN_MS = 1_000;

export class SidecarFollower {
  readonly #of: SidecarOf;
  readonly #parts: SidecarFollowerParts;
  readonly #ends: (() => void)[] = [];
  readonly #first = Promise.withResolvers<void>();
  #proxyId: string | undefined;
  #definition: SidecarDefinition | undefined;
  #central: CentralTuning = NO_TUNING;
  #stopped = false;

  constructor(of: SidecarOf, parts: SidecarFollowerParts) {
    this.#of = of;
    this.#parts = parts;
  }

  /**
   * Resolves with the first definition.
   * @throws Error when the agent has no such sidecar, or several
   */
  async start(): Promise<void> {
    const { clock } = this.#parts;
    const copying = clock.schedule(COPY_AFTER_MS, () => this.#useCopy());
    const found = this.#find().then((proxyId) => {
      this.#proxyId = proxyId;
      if (proxyId !== undefined) this.#follow(proxyId);
      return this.#first.promise;
    });
    try {
      await Promise.race([found, this.#first.promise]);
    } finally {
      copying.cancel();
    }
    // With the copy in use nobody waits for it any more, and it goes on by itself.
    found.catch(() => {});
  }

  stop(): void {
    this.#stopped = true;
    this.#first.resolve();
    for (const end of this.#ends) end();
  }

  /** Tells peers to go elsewhere. Resolves also when the agent could not be told. */
  async leave(): Promise<void> {
    const { registry, log } = this.#parts;
    const proxyId = this.#proxyId;
    if (proxyId === undefined) return;
    try {
      await setMaintenance(registry.client, proxyId, true);
      log.info({ proxy: proxyId }, "in maintenance until heddle starts again");
    } catch (thrown) {
      log.warn({ proxy: proxyId, err: thrown }, "could not be put into maintenance");
    }
  }

  get #copyName(): string {
    return `sidecar:${"proxyId" in this.#of ? this.#of.proxyId : this.#of.sidecarFor}`;
  }

  /**
   * The id of the proxy; undefined when this has ended before it was found.
   * @throws Error when the agent has none, or several
   */
  async #find(): Promise<string | undefined> {
    if ("proxyId" in this.#of) return this.#of.proxyId;
    const { sidecarFor } = this.#of;
    const { registry, clock, log } = this.#parts;
    for (let failures = 0; !this.#stopped; failures++) {
      try {
        const { body } = await registry.client.get({ path: "/agent/services" });
        const found = proxiesFor(body, sidecarFor);
        if (found === undefined) throw new Error("the answer is not a list of services");
        if (found.length === 1) return found[0];
        throw new NoSidecar(
          found.length === 0
            ? `expected a sidecar that is registered for the service instance ${JSON.stringify(sidecarFor)}, got none${known(body)}`
            : `expected one sidecar for the service instance ${JSON.stringify(sidecarFor)}, got ${found.join(" and ")}; choose with --proxy-id`,
        );
      } catch (thrown) {
        // One that has lost its memory may be told again; without a copy there is nothing to wait with.
        if (thrown instanceof NoSidecar && this.#definition === undefined) throw thrown;
        if (failures === 0)
          log.warn({ why: (thrown as Error).message }, "the sidecar is not found in the registry");
        await delay(clock, ASK_AGAIN_MS);
      }
    }
    return undefined;
  }

  #follow(proxyId: string): void {
    const { registry, log } = this.#parts;
    if (this.#stopped) return;
    // What the last drain has begun. Anybody else's maintenance stays.
    endMaintenance(registry.client, proxyId).then(
      (ended) => ended && log.info({ proxy: proxyId }, "the maintenance of the last drain is over"),
      () => {},
    );
    let absent = false;
    this.#ends.push(
      registry.follow(sidecarQuery(proxyId), {
        value: (definition) => {
          if (definition !== "absent") {
            absent = false;
            this.#parts.lastGood.note(this.#copyName, definition);
            this.#believe(definition);
            return;
          }
          // An agent that has lost its memory is no reason not to start.
          this.#useCopy();
          if (this.#definition === undefined) {
            this.#first.reject(
              new NoSidecar(`expected a proxy with the id ${JSON.stringify(proxyId)}, got none`),
            );
          } else if (!absent) {
            absent = true;
            log.warn({ proxy: proxyId }, "the agent does not know this proxy; its last definition holds");
          }
        },
        silent: () => this.#useCopy(),
      }),
    );
  }

  #useCopy(): void {
    if (this.#definition !== undefined) return;
    const noted = this.#parts.lastGood.noted(this.#copyName) as SidecarDefinition | undefined;
    if (noted === undefined) return;
    this.#parts.log.warn({ proxy: noted.id }, "the registry is silent; the kept definition is used");
    this.#believe(noted);
  }

  #believe(definition: SidecarDefinition): void {
    const first = this.#definition === undefined;
    this.#definition = definition;
    if (first) this.#followCentral(definition.destination.service);
    this.#tell();
    this.#first.resolve();
  }

  #followCentral(service: string): void {
    const { registry } = this.#parts;
    // Without the right to read them, they are as if they were not there.
    const silent = () => {};
    const changed = (central: CentralTuning) => {
      if (JSON.stringify(central) === JSON.stringify(this.#central)) return;
      this.#central = central;
      this.#tell();
    };
    this.#ends.push(
      registry.follow(serviceDefaultsQuery(service), {
        value: ({ defaults, overrides }) => changed({ ...this.#central, defaults, overrides }),
        silent,
      }),
      registry.follow(proxyDefaultsQuery(), {
        value: (tuning) => changed({ ...this.#central, everyone: tuning === "none" ? undefined : tuning }),
        silent,
      }),
    );
  }

  #tell(): void {
    if (this.#definition !== undefined && !this.#stopped)
      this.#parts.onChange(this.#definition, this.#central);
  }
}

class NoSidecar extends Error {}

/** The ids that there are, for whoever has misspelt one. */
function known(services: unknown): string {
  const ids = Object.keys(services as object);
  if (ids.length === 0) return "; the agent has no services";
  return `; the agent has ${ids.slice(0, 10).join(", ")}${ids.length > 10 ? " and more" : ""}`;
}
