/**
 * The sources in Kubernetes of one process: those that ask the same server with the same files share its edge.
 */
import type { SourceParts } from "../source.ts";
import { KubernetesApi } from "./api.ts";
import { type ConfiguredAccess, clusterAccess } from "./cluster-access.ts";
import { type KubernetesOptions, KubernetesSource } from "./source.ts";

/** What is configured of a source; what of its access is undefined is found out. */
export type KubernetesServiceOptions = Omit<KubernetesOptions, "namespace"> & ConfiguredAccess;

export class KubernetesSources {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #apis = new Map<string, KubernetesApi>();

  /** @param environment such as process.env */
  constructor(environment: Readonly<Record<string, string | undefined>>) {
    this.#environment = environment;
  }

  /** @throws Error that says what is missing to reach the server */
  create(options: KubernetesServiceOptions, parts: SourceParts): KubernetesSource {
    const { service, port, labelled } = options;
    const { namespace, ...access } = clusterAccess(options, this.#environment);
    const key = JSON.stringify([access.server, access.tokenFile, access.caFile]);
    const api = this.#apis.get(key) ?? new KubernetesApi(access, parts.clock);
    this.#apis.set(key, api);
    const { clock, random, log } = parts;
    return new KubernetesSource({ service, namespace, port, labelled }, { api, clock, random, log });
  }
}
