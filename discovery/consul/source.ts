/**
 * The instances of one service in Consul, or those that a prepared query finds, as a source of endpoints.
 */
import { field } from "../json-values.ts";
import type { Instance, Sink, Source } from "../source.ts";
import { type ReadingOptions, readHealthEntries } from "./health-entries.ts";
import type { ConsulRegistry } from "./registry.ts";
import type { ConsulQuery } from "./watch.ts";

export interface ConsulServiceOptions {
  readonly service: string;
  /** Undefined for that of the agent. */
  readonly datacenter?: string | undefined;
  readonly namespace?: string | undefined;
  readonly partition?: string | undefined;
  readonly peer?: string | undefined;
  /** In Consul's filter language, over an entry of the health endpoint. */
  readonly filter?: string | undefined;
  readonly onlyPassing?: boolean | undefined;
  /** The sidecars of the service, or its instances that speak for themselves, instead of the apps. */
  readonly connect?: boolean | undefined;
  /** Any consistent server may answer: lighter, and alive without a leader. */
  readonly stale?: boolean | undefined;
  /** Tags and metadata are wanted as well. */
  readonly labelled?: boolean | undefined;
}

/** Instances of a service, by a query that blocks. */
export function healthQuery(options: ConsulServiceOptions): ConsulQuery<readonly Instance[]> {
  const { service, datacenter, namespace, partition, peer, filter, onlyPassing, connect, stale, labelled } =
    options;
  const source = serviceName(options);
  return {
    name: source,
    path: connect === true ? "/health/connect/{service}" : "/health/service/{service}",
    params: { service },
    query: {
      ...(datacenter === undefined ? {} : { dc: datacenter }),
      ...(namespace === undefined ? {} : { ns: namespace }),
      ...(partition === undefined ? {} : { partition }),
      ...(peer === undefined ? {} : { peer }),
      ...(filter === undefined ? {} : { filter }),
      ...(stale === true ? { stale: "" } : {}),
    },
    blocks: "index",
    ...readingAs(labelled),
    read: (body) =>
      readInstances(body, {
        source,
        onlyPassing: onlyPassing === true,
        wan: datacenter !== undefined,
        labelled: labelled === true,
      }),
  };
}

/** A prepared query, which never blocks. */
export function preparedQuery(
  nameOrId: string,
  options: Pick<ConsulServiceOptions, "connect" | "datacenter" | "labelled">,
): ConsulQuery<readonly Instance[]> {
  const { connect, datacenter, labelled } = options;
  const source = `consul:query:${nameOrId}${datacenter === undefined ? "" : `@${datacenter}`}${
    connect === true ? " (connect)" : ""
  }`;
  return {
    name: source,
    path: "/query/{query}/execute",
    params: { query: nameOrId },
    query: {
      ...(connect === true ? { connect: "true" } : {}),
      ...(datacenter === undefined ? {} : { dc: datacenter }),
    },
    blocks: "never",
    ...readingAs(labelled),
    read: (body) => readInstances(field(body, "Nodes"), { source, labelled: labelled === true }),
  };
}

/** Subsets of one service share a question, and who needs no labels does not hold theirs. */
function readingAs(labelled: boolean | undefined): { readonly reading?: string } {
  return labelled === true ? { reading: "with labels" } : {};
}

/** @returns undefined when it is no list of instances, or one of which none can be used */
function readInstances(body: unknown, options: ReadingOptions): readonly Instance[] | undefined {
  const reading = readHealthEntries(body, options);
  // A list of nothing but nonsense is no list of nobody.
  if (reading === undefined || (reading.instances.length === 0 && reading.unusable > 0)) return undefined;
  return reading.instances;
}

/** All that tells its list from another: what is kept of a source is kept under its name, and the same name is asked once. */
function serviceName(options: ConsulServiceOptions): string {
  const { service, datacenter, namespace, partition, peer, filter, onlyPassing, connect } = options;
  return [
    `consul:${service}`,
    datacenter === undefined ? "" : `@${datacenter}`,
    peer === undefined ? "" : ` of peer ${peer}`,
    namespace === undefined ? "" : ` in ${namespace}`,
    partition === undefined ? "" : ` of partition ${partition}`,
    connect === true ? " (connect)" : "",
    onlyPassing === true ? " (passing)" : "",
    filter === undefined ? "" : ` where ${filter}`,
  ].join("");
}

export class ConsulSource implements Source {
  readonly name: string;
  readonly #query: ConsulQuery<readonly Instance[]>;
  readonly #registry: Pick<ConsulRegistry, "follow">;
  #end: (() => void) | undefined;

  constructor(query: ConsulQuery<readonly Instance[]>, registry: Pick<ConsulRegistry, "follow">) {
    this.name = query.name;
    this.#query = query;
    this.#registry = registry;
  }

  start(sink: Sink): void {
    this.#end = this.#registry.follow(this.#query, {
      value: (instances) => sink.list(instances),
      silent: (why) => sink.silent(why),
    });
  }

  stop(): void {
    this.#end?.();
  }
}
