/**
 * Follows a name in DNS: asks again when what it was told is about to expire.
 *
 * A server in trouble is never taken for a service without instances. Only an answer that there is nothing (no such
 * name, or no such records) is an empty list; no answer, a refusal and one that cannot be read are a silence.
 *
 * Names are absolute: the search domains of resolv.conf are not tried, since which of them would match changes with
 * the machine and with what exists at the moment, and neither is /etc/hosts. A server that answers with a part of the
 * records, another one each time, cannot be followed: the list would change with each answer. Consul does that by UDP
 * with more than fit into a datagram, unless `enable_truncate` is set; its own source has no such bound.
 */
import { backoffMs } from "../../resilience/index.ts";
import { sleep } from "../sleep.ts";
import type { Instance, Sink, Source, SourceParts } from "../source.ts";
import type { Family } from "./answers.ts";
import { DnsClient, parseServer } from "./client.ts";
import { type Asking, type Listing, lookUpAddresses, lookUpService, type Reserve } from "./lookup.ts";
import { isDomainName } from "./message.ts";

export interface DnsOptions {
  /** Absolute, with or without the last dot. */
  readonly name: string;
  /** "A" asks for IPv6 too. */
  readonly type: "A" | "SRV";
  /** Of every endpoint, with type A. An SRV record brings its own. */
  readonly port?: number | undefined;
  /** `ip:port` each, asked in this order; undefined for those that the system asks. */
  readonly resolver?: readonly string[] | undefined;
  /** A shorter TTL, or none, counts as this one. */
  readonly minTtlMs: number;
  /** A longer TTL counts as this one. */
  readonly maxTtlMs: number;
}

const BACKOFF = { baseMs: 500, maxMs: 15_000 };
const LEAST_REST_MS = 100;
/** Sidecars that were told the same TTL at the same time ask again spread over this share of it. */
const JITTER = 0.1;

export class DnsSource implements Source {
  readonly name: string;
  readonly #options: DnsOptions;
  readonly #parts: SourceParts;
  readonly #client: DnsClient;
  readonly #stopped = new AbortController();
  /** The families of the last list that was not empty. */
  #relied: ReadonlySet<Family> = new Set();
  #without: string | undefined;
  #reserve: Reserve = new Map();
  #told = false;

  /** @throws Error when DNS cannot be asked like this */
  constructor(options: DnsOptions, parts: SourceParts) {
    const { name, type, port, resolver, minTtlMs, maxTtlMs } = options;
    if (!isDomainName(name)) throw new Error(`expected a domain name, got ${JSON.stringify(name)}`);
    if (type === "A" && port === undefined)
      throw new Error(`expected a port with the type A of ${name}, got none`);
    if (minTtlMs > maxTtlMs) throw new Error(`expected minTtlMs up to ${maxTtlMs}, got ${minTtlMs}`);
    resolver?.forEach(parseServer);
    this.name = `dns:${name}`;
    this.#options = options;
    this.#parts = parts;
    this.#client = new DnsClient(resolver, parts.clock);
  }

  start(sink: Sink): void {
    void this.#follow(sink, this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
  }

  async #follow(sink: Sink, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#parts;
    const { minTtlMs, maxTtlMs } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const listing = await this.#lookUp(sink, signal);
      if (signal.aborted) return;
      if (listing instanceof Error) {
        failures++;
        sink.silent(listing.message);
        await sleep(clock, LEAST_REST_MS + backoffMs(BACKOFF, failures, random), signal);
        continue;
      }
      failures = 0;
      if (listing.instances.length > 0) this.#relied = familiesOf(listing.instances);
      this.#reserve = listing.reserve;
      this.#tell(listing.without);
      this.#told = true;
      sink.list(listing.instances);
      const lifeMs = Math.min(maxTtlMs, Math.max(minTtlMs, listing.ttlMs ?? minTtlMs));
      await sleep(clock, lifeMs * (1 - JITTER * random.next()), signal);
    }
  }

  /** What there is, or why that is not known. */
  async #lookUp(sink: Sink, signal: AbortSignal): Promise<Listing | Error> {
    const { name, type, port } = this.#options;
    const asking: Asking = {
      client: this.#client,
      source: this.name,
      relied: this.#relied,
      reserve: this.#reserve,
      // Who waits for the first word does not wait for a reserve; later ones are whole, as a level must not come and go.
      onFirst: (instances) => {
        if (!this.#told && !signal.aborted) sink.list(instances);
      },
      signal,
    };
    try {
      return await (type === "SRV" ? lookUpService(name, asking) : lookUpAddresses(name, port!, asking));
    } catch (thrown) {
      return thrown instanceof Error ? thrown : new Error(String(thrown));
    }
  }

  #tell(without: string | undefined): void {
    // Once for as long as it lasts: what came differs from time to time in its words.
    if (without !== undefined && this.#without === undefined)
      this.#parts.log.warn(
        { source: this.name, why: without },
        "a part of the answer is not known, and is done without",
      );
    this.#without = without;
  }
}

/** Of the first level: a reserve may be unknown. */
function familiesOf(instances: readonly Instance[]): ReadonlySet<Family> {
  const first = instances.filter(({ priority }) => priority === instances[0]?.priority);
  return new Set(first.map(({ address }) => (address.includes(":") ? "AAAA" : "A")));
}
