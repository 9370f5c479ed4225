/**
 * From what is said of a source to the source. A new kind is one folder and one case here.
 *
 * Kinds that few sidecars use are loaded with the first of them: DNS and Kubernetes bring cryptography and TLS, which weigh
 * more than the rest of discovery.
 */
import type { Endpoint } from "../core/index.ts";
import type { ConsulRegistry } from "./consul/registry.ts";
import { type ConsulServiceOptions, ConsulSource, healthQuery, preparedQuery } from "./consul/source.ts";
import type { DnsOptions } from "./dns/source.ts";
import type { KubernetesServiceOptions, KubernetesSources } from "./kubernetes/sources.ts";
import type { Labels, Source, SourceParts } from "./source.ts";
import { staticSource } from "./static.ts";
import { inSubset, type Subset, SubsetSource } from "./subset.ts";

/** As it is written in a configuration. */
export type LabelledEndpoint = Endpoint & { readonly labels?: Labels };

export type SourceOptions =
  | { readonly kind: "static"; readonly endpoints: readonly LabelledEndpoint[] }
  | ({ readonly kind: "consul" } & ConsulServiceOptions)
  | {
      readonly kind: "query";
      readonly query: string;
      readonly connect?: boolean | undefined;
      readonly datacenter?: string | undefined;
    }
  | { readonly kind: "file"; readonly path: string }
  | ({ readonly kind: "dns" } & DnsOptions)
  | ({ readonly kind: "kubernetes" } & KubernetesServiceOptions);

/** What several sources share. */
export interface SourceContext extends SourceParts {
  /** Undefined without discovery.consul. */
  readonly registry: ConsulRegistry | undefined;
  /** What a cluster tells its pods. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export class SourceFactory {
  readonly #context: SourceContext;
  /** Sources of one API server share a connection and a token. */
  #kubernetes: Promise<KubernetesSources> | undefined;

  constructor(context: SourceContext) {
    this.#context = context;
  }

  /**
   * One that cannot be asked like this is a source that is silent and says why: the others go on.
   * @param subset which of its instances are meant; undefined for all
   */
  create(options: SourceOptions, subset?: Subset): Source {
    // They are named for ever, so they are chosen once.
    if (options.kind === "static") return staticSource(inSubset(options.endpoints, subset));
    const source = this.#create(options, subset !== undefined);
    return subset === undefined ? source : new SubsetSource(source, subset, this.#context.log);
  }

  #create(options: Exclude<SourceOptions, { kind: "static" }>, labelled: boolean): Source {
    const context = this.#context;
    switch (options.kind) {
      case "consul":
        return consulSource(healthQuery({ ...options, labelled }), context.registry);
      case "query":
        return consulSource(preparedQuery(options.query, { ...options, labelled }), context.registry);
      case "file":
        return later(options, `file:${options.path}`, async () => {
          const { FileSource } = await import("./file/source.ts");
          return new FileSource({ ...options, labelled }, context);
        });
      case "dns":
        return later(options, `dns:${options.name}`, async () => {
          const { DnsSource } = await import("./dns/source.ts");
          return new DnsSource(options, context);
        });
      case "kubernetes":
        return later(options, `kubernetes:${options.namespace ?? "(own)"}/${options.service}`, async () => {
          this.#kubernetes ??= import("./kubernetes/sources.ts").then(
            ({ KubernetesSources: Sources }) => new Sources(context.environment),
          );
          return (await this.#kubernetes).create({ ...options, labelled }, context);
        });
    }
  }
}

type HealthQuery = ReturnType<typeof healthQuery>;

function consulSource(query: HealthQuery, registry: ConsulRegistry | undefined): Source {
  return registry === undefined
    ? later(query, query.name, () => Promise.reject(new Error("expected discovery.consul to be set")))
    : new ConsulSource(query, registry);
}

/**
 * A source that is made when it is started.
 * @param options all that tells it from others of the same name: another port or server is another list
 */
function later(options: object, name: string, make: () => Promise<Source>): Source {
  let stopped = false;
  let made: Source | undefined;
  return {
    name,
    copyName: `${name} ${JSON.stringify(options)}`,
    start(sink) {
      make().then(
        (source) => {
          if (stopped) return;
          made = source;
          source.start(sink);
        },
        (thrown: unknown) => {
          if (!stopped) sink.silent((thrown as Error).message);
        },
      );
    },
    stop() {
      stopped = true;
      made?.stop();
    },
  };
}
