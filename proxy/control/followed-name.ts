/**
 * One name while it is followed: from its sources, or from its discovery chain and the sources which that asks for, to what
 * the data planes are told.
 *
 * What is new is made before what is old is broken: when a chain changes, the sources of its new targets are followed first,
 * and the routes change when each of them has spoken or has had its time. Otherwise a split that is moved would be
 * answered with 503 for the moment in which nobody has asked where the new half is.
 */
import type { Endpoint, Timer } from "../../core/index.ts";
import {
  type Chain,
  type ConsulRegistry,
  chainQuery,
  type LastGood,
  NO_BALANCING,
  type SourceOptions,
  type Supply,
  type SupplyView,
} from "../../discovery/index.ts";
import type { Destination } from "../plan.ts";
import { plainDestination } from "../plan.ts";
import type { StackParts } from "../stack.ts";
import { type NamePlan, planOfChain } from "./chain-plan.ts";
import type { NameSpec, Origin } from "./name-spec.ts";

export interface FollowedNameParts extends Pick<StackParts, "clock" | "log"> {
  readonly registry: ConsulRegistry | undefined;
  readonly lastGood: LastGood;
  /** Makes the supply of an upstream, which is started here. @throws Error when a source cannot be asked like this */
  readonly createSupply: (
    key: string,
    spec: NameSpec,
    from: readonly SourceOptions[],
    onEndpoints: (endpoints: readonly Endpoint[]) => void,
  ) => Supply;
  /** The name leads somewhere, or somewhere else. */
  readonly onLead: (
    destination: Destination,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ) => void;
  readonly onEndpoints: (key: string, endpoints: readonly Endpoint[]) => void;
}

interface Supplied {
  readonly from: string;
  readonly supply: Supply;
  endpoints: readonly Endpoint[] | undefined;
  /** The one that is in use until this one has spoken. */
  before: Supply | undefined;
}

/** How long new sources may take for their first word. */
const FIRST_WORD_MS = 2_000;
/** How long the chain may take, after which the one that is remembered is used, or none. */
const CHAIN_MS = 1_000;

export class FollowedName {
  readonly spec: NameSpec;
  readonly #parts: FollowedNameParts;
  readonly #supplies = new Map<string, Supplied>();
  #endChain: (() => void) | undefined;
  #chainDue: Timer | undefined;
  #chainText = "";
  #withoutChain = false;
  /** What is to be told when its sources have spoken. */
  #next: NamePlan | undefined;
  #due: Timer | undefined;
  #told: Destination | undefined;
  #stopped = false;

  constructor(spec: NameSpec, parts: FollowedNameParts) {
    this.spec = spec;
    this.#parts = parts;
  }

  start(): void {
    const { origin, name, options } = this.spec;
    if (origin.type === "chain") {
      this.#followChain(origin);
      return;
    }
    this.#aim({
      destination: plainDestination(name, { name, options }),
      sources: { [name]: origin.from },
      warnings: [],
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#endChain?.();
    this.#chainDue?.cancel();
    this.#due?.cancel();
    for (const supplied of this.#supplies.values()) stopSupplied(supplied);
    this.#supplies.clear();
  }

  /** Whether it has said where the name leads. */
  get leads(): boolean {
    return this.#told !== undefined;
  }

  /** By the key of the upstream. */
  views(): Record<string, SupplyView> {
    return Object.fromEntries([...this.#supplies].map(([key, { supply }]) => [key, supply.view()]));
  }

  #followChain(origin: Extract<Origin, { type: "chain" }>): void {
    const { registry, clock, lastGood, log } = this.#parts;
    const query = chainQuery(origin.service, origin);
    const believe = (chain: Chain) => {
      this.#chainDue?.cancel();
      const text = JSON.stringify(chain);
      if (text === this.#chainText) return;
      this.#chainText = text;
      lastGood.note(query.name, chain);
      this.#aim(planOfChain(this.spec, origin, chain));
    };
    const doWithout = () => {
      this.#chainDue?.cancel();
      if (this.#chainText !== "" || this.#withoutChain) return;
      this.#withoutChain = true;
      // A chain is not asked for its health: however old, it is what was last wanted.
      const noted = lastGood.noted(query.name) as Chain | undefined;
      const instead = noted === undefined ? "none is taken to be configured" : "what it was last is used";
      log.warn({ upstream: this.spec.name }, `the discovery chain is not known; ${instead}`);
      if (noted === undefined) this.#aim(planOfChain(this.spec, origin, chainOfNothing(origin.service)));
      else this.#aim(planOfChain(this.spec, origin, noted));
    };
    this.#chainDue = clock.schedule(CHAIN_MS, doWithout);
    this.#endChain = registry!.follow(query, { value: believe, silent: doWithout });
  }

  /** Begins to follow what the plan asks for, and tells of it when there is something to tell. */
  #aim(plan: NamePlan): void {
    if (this.#stopped) return;
    const { clock, log } = this.#parts;
    for (const warning of plan.warnings) log.warn({ upstream: this.spec.name }, warning);
    this.#next = plan;
    for (const [key, from] of Object.entries(plan.sources)) this.#supply(key, from);
    this.#due?.cancel();
    this.#due = clock.schedule(FIRST_WORD_MS, () => this.#tell());
    this.#tellIfKnown();
  }

  #supply(key: string, from: readonly SourceOptions[]): void {
    const text = JSON.stringify(from);
    const before = this.#supplies.get(key);
    if (before?.from === text) return;
    const supplied: Supplied = {
      from: text,
      endpoints: undefined,
      // The same key with other sources: those of before are in use until these have spoken.
      before: before?.endpoints === undefined ? before?.before : before.supply,
      supply: this.#parts.createSupply(key, this.spec, from, (endpoints) => {
        supplied.endpoints = endpoints;
        supplied.before?.stop();
        supplied.before = undefined;
        if (Object.hasOwn(this.#told?.upstreams ?? {}, key)) this.#parts.onEndpoints(key, endpoints);
        this.#tellIfKnown();
      }),
    };
    this.#supplies.set(key, supplied);
    supplied.supply.start();
    // It has never spoken, and is not what is wanted any more.
    if (before !== undefined && before.endpoints === undefined) before.supply.stop();
  }

  #tellIfKnown(): void {
    if (this.#next === undefined) return;
    for (const key of Object.keys(this.#next.sources))
      if (this.#supplies.get(key)?.endpoints === undefined) return;
    this.#tell();
  }

  #tell(): void {
    const plan = this.#next;
    if (plan === undefined || this.#stopped) return;
    this.#next = undefined;
    this.#due?.cancel();
    const endpoints: Record<string, readonly Endpoint[]> = {};
    for (const key of Object.keys(plan.sources)) {
      const known = this.#supplies.get(key)?.endpoints;
      if (known !== undefined) endpoints[key] = known;
    }
    this.#told = plan.destination;
    this.#parts.onLead(plan.destination, endpoints);
    for (const [key, supplied] of this.#supplies) {
      if (Object.hasOwn(plan.sources, key)) continue;
      stopSupplied(supplied);
      this.#supplies.delete(key);
    }
  }
}

function stopSupplied({ supply, before }: Supplied): void {
  supply.stop();
  before?.stop();
}

/** What the agent compiles for a service of which nothing is configured. */
function chainOfNothing(service: string): Chain {
  const nothing = { prefixRewrite: undefined, requestMs: undefined, retries: undefined };
  const headers = { request: undefined, response: undefined };
  const target = {
    id: service,
    service,
    subset: undefined,
    datacenter: undefined,
    namespace: undefined,
    partition: undefined,
    peer: undefined,
    filter: undefined,
    onlyPassing: false,
    connectMs: undefined,
    requestMs: undefined,
    balancing: NO_BALANCING,
    failover: [],
  };
  return {
    service,
    protocol: "http",
    routes: [
      {
        match: { path: undefined, ignoreCase: false, headers: [], query: [], methods: [] },
        destination: { ...nothing, ...headers },
        to: [{ weight: 100, target, headers }],
      },
    ],
    warnings: [],
  };
}
