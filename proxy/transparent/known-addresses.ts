/**
 * Which upstream an address belongs to: a virtual one that the configuration gives it, or that of an endpoint.
 *
 * Made anew when it is first asked after a change: endpoints change in bursts, and connections do not come in between.
 */
import { endpointKey } from "../../core/index.ts";
import type { Upstream } from "../upstream/index.ts";

export interface KnownAddress {
  /** What the upstream is called by those who lead there. */
  readonly name: string;
  readonly protocol: "http" | "tcp";
  /** `address:port` of the one endpoint that is meant; undefined for any. */
  readonly endpoint: string | undefined;
}

export class KnownAddresses {
  readonly #virtual: Readonly<Record<string, string>>;
  readonly #named: () => Iterable<readonly [name: string, upstream: Upstream]>;
  #known: ReadonlyMap<string, KnownAddress> | undefined;

  /**
   * @param virtual names by `address:port`
   * @param named the names that lead to one upstream, and those upstreams
   */
  constructor(
    virtual: Readonly<Record<string, string>>,
    named: () => Iterable<readonly [name: string, upstream: Upstream]>,
  ) {
    this.#virtual = virtual;
    this.#named = named;
  }

  /** Names or endpoints have changed. */
  changed(): void {
    this.#known = undefined;
  }

  find(address: { readonly address: string; readonly port: number }): KnownAddress | undefined {
    this.#known ??= this.#index();
    return this.#known.get(endpointKey(address));
  }

  #index(): ReadonlyMap<string, KnownAddress> {
    const known = new Map<string, KnownAddress>();
    const protocols = new Map<string, "http" | "tcp">();
    for (const [name, { options, endpoints }] of this.#named()) {
      const protocol = options.protocol ?? "http";
      protocols.set(name, protocol);
      // The first that has it: which of two was meant nobody can tell.
      for (const { key } of endpoints) if (!known.has(key)) known.set(key, { name, protocol, endpoint: key });
    }
    for (const [key, name] of Object.entries(this.#virtual))
      known.set(key, { name, protocol: protocols.get(name) ?? "http", endpoint: undefined });
    return known;
  }
}
