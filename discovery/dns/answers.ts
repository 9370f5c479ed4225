/**
 * From decoded replies to addresses, targets and endpoints. Decisions without I/O.
 *
 * "There is nothing" and "this cannot be understood" are kept apart all the way: the first is a reading, the second
 * is thrown. A list is emptied only by a server that said so.
 */
import { isIP } from "node:net";
import type { Answer as DnsRecord } from "dns-packet";
import { endpointKey } from "../../core/index.ts";
import type { Instance } from "../source.ts";
import type { Answer } from "./client.ts";
import { canonicalName, isDomainName } from "./message.ts";

export type Family = "A" | "AAAA";

export type Reading<Found> =
  | { readonly kind: "found"; readonly found: readonly Found[]; readonly ttlMs: number }
  /** Known not to be there; `ttlMs` for how long, when that was said. */
  | { readonly kind: "nothing"; readonly ttlMs: number | undefined }
  /** An alias leads to a name about which this answer says nothing more. */
  | { readonly kind: "elsewhere"; readonly name: string; readonly ttlMs: number };

export interface Target {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** A target of which is known where it is. */
export interface PlacedTarget extends Target {
  readonly addresses: readonly string[];
}

/** Levels of priority, from 0 to 15. */
const MOST_LEVELS = 16;
/** What weights are at most: as in an SRV record. */
const MOST_WEIGHT = 65_535;

/**
 * The addresses of a name, through its aliases.
 * @throws Error when the answer contradicts itself or holds no usable address
 */
export function readAddresses(answer: Answer, name: string, family: Family): Reading<string> {
  const reading = readRecords(answer, name, addressIn(family));
  return reading.kind === "found" ? { ...reading, found: usableAddresses(reading.found, family) } : reading;
}

/**
 * The targets of a service. A target that is the root says that there is no such service. (RFC 2782)
 * @throws Error when the answer contradicts itself or holds no usable target
 */
export function readTargets(answer: Answer, name: string): Reading<Target> {
  const reading = readRecords(answer, name, (record) => (record.type === "SRV" ? record : undefined));
  if (reading.kind !== "found") return reading;
  const named = reading.found.filter(({ target }) => canonicalName(target) !== "");
  if (named.length === 0) return { kind: "nothing", ttlMs: reading.ttlMs };
  const usable = named.filter(({ target, port }) => port > 0 && isDomainName(target));
  if (usable.length === 0) throw new Error(`${name} SRV: no record names a usable target and port`);
  const found = usable.map(({ target, port, priority = 0, weight = 0 }) => ({
    name: canonicalName(target),
    port,
    priority,
    weight,
  }));
  return { ...reading, found };
}

/** The addresses of a name that a server sent along with an answer; undefined when it sent none. */
export type Additional = (
  name: string,
) => { readonly addresses: readonly string[]; readonly ttlMs: number } | undefined;

/**
 * What a server sent along with its answer, by name. That is taken as all there is under the name: a server leaves
 * records out name by name.
 */
export function readAdditional({ packet }: Answer): Additional {
  const records = recordsByName(packet.additionals);
  return (name) => {
    const addresses: string[] = [];
    let ttlMs = Number.POSITIVE_INFINITY;
    for (const family of ["A", "AAAA"] as const) {
      const { found, ttlMs: familyMs } = walk(records, name, addressIn(family));
      if (found.length === 0) continue;
      addresses.push(...usableAddresses(found, family));
      ttlMs = Math.min(ttlMs, familyMs);
    }
    return addresses.length === 0 ? undefined : { addresses, ttlMs };
  };
}

/** One endpoint for each address, sorted, so that the same set compares equal in whatever order it was told. */
export function addressInstances(addresses: readonly string[], port: number, source: string): Instance[] {
  return sorted(addresses.map((address) => instance(address, port, 1, source)));
}

/**
 * Targets of the same priority together, those that are preferred in front. Priorities are numbers up to 65535 of which
 * the order alone counts; a zone with one for each target is held to the levels that a configuration may have.
 */
export function byPriority(targets: readonly Target[]): Target[][] {
  const groups = [...Map.groupBy(targets, ({ priority }) => priority)];
  const sorted = groups.sort(([a], [b]) => a - b).map(([, group]) => group);
  const rest = sorted.slice(MOST_LEVELS - 1).flat();
  return [...sorted.slice(0, MOST_LEVELS - 1), ...(rest.length === 0 ? [] : [rest])];
}

/**
 * The endpoints of one group of targets. A target's weight is shared by its addresses, and one of zero counts as one.
 * Weights stay as they are where every target has one address, and are multiplied where they would not be whole.
 * @param level how many groups come before this one
 */
export function targetInstances(group: readonly PlacedTarget[], level: number, source: string): Instance[] {
  const shares = new Map<string, { readonly address: string; readonly port: number; share: number }>();
  for (const { addresses, port, weight } of group) {
    for (const address of addresses) {
      const key = endpointKey({ address, port });
      const entry = shares.get(key) ?? { address, port, share: 0 };
      // Two targets may be one machine: it then gets what both would.
      entry.share += Math.max(1, weight) / addresses.length;
      shares.set(key, entry);
    }
  }
  const factor = wholeFactor(
    group.map(({ addresses }) => addresses.length),
    // Not Math.max of all: there may be more of them than a call takes arguments.
    [...shares.values()].reduce((most, { share }) => Math.max(most, share), 0),
  );
  return sorted(
    [...shares.values()].map(({ address, port, share }) => ({
      ...instance(address, port, Math.max(1, Math.round(share * factor)), source),
      ...(level === 0 ? {} : { priority: level }),
    })),
  );
}

/** What makes every share whole, or as near to that as the largest weight lets it be. */
function wholeFactor(addressCounts: readonly number[], largestShare: number): number {
  const most = MOST_WEIGHT / largestShare;
  let factor = 1;
  for (const count of addressCounts) {
    if (count === 0) continue;
    factor = (factor / greatestDivisor(factor, count)) * count;
    if (factor > most) return most;
  }
  return factor;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** Takes what is wanted out of a record. */
type Pick<Data> = (
  record: DnsRecord,
) => { readonly data: Data; readonly ttl?: number | undefined } | undefined;

function addressIn(family: Family): Pick<string> {
  return (record) => (record.type === family ? record : undefined);
}

/** The records of a name that `pick` wants, found through the aliases in the same answer. */
function readRecords<Data>({ rcode, packet }: Answer, name: string, pick: Pick<Data>): Reading<Data> {
  const { found, at, ttlMs } = walk(recordsByName(packet.answers), name, pick);
  if (found.length > 0) return { kind: "found", found, ttlMs };
  const negativeMs = negativeLifeMs(packet.authorities ?? []);
  // A server that followed the alias and found nothing says so; one that did not follow it says nothing more.
  if (at !== canonicalName(name) && rcode === "NOERROR" && negativeMs === undefined) {
    if (!isDomainName(at)) throw new Error(`${name}: its alias is no domain name`);
    return { kind: "elsewhere", name: at, ttlMs };
  }
  const leastMs = Math.min(ttlMs, negativeMs ?? Number.POSITIVE_INFINITY);
  return { kind: "nothing", ttlMs: Number.isFinite(leastMs) ? leastMs : undefined };
}

type RecordsByName = ReadonlyMap<string, readonly DnsRecord[]>;

function recordsByName(records: readonly DnsRecord[] = []): RecordsByName {
  const ofInternet = records.filter((record) => "class" in record && record.class === "IN");
  return Map.groupBy(ofInternet, (record) => canonicalName(record.name));
}

/** From alias to alias up to the name that has what is wanted, or has no alias either. */
function walk<Data>(
  records: RecordsByName,
  name: string,
  pick: Pick<Data>,
): { readonly found: readonly Data[]; readonly at: string; readonly ttlMs: number } {
  const passed = new Set<string>();
  let at = canonicalName(name);
  let ttlMs = Number.POSITIVE_INFINITY;
  for (;;) {
    if (passed.has(at)) throw new Error(`${name}: its aliases lead in a circle`);
    passed.add(at);
    const here = records.get(at) ?? [];
    const found = here.map(pick).filter((record) => record !== undefined);
    if (found.length > 0) {
      for (const { ttl } of found) ttlMs = Math.min(ttlMs, lifeMs(ttl));
      return { found: found.map(({ data }) => data), at, ttlMs };
    }
    const [alias] = here.flatMap((record) => (record.type === "CNAME" ? [record] : []));
    if (alias === undefined) return { found: [], at, ttlMs };
    ttlMs = Math.min(ttlMs, lifeMs(alias.ttl));
    at = canonicalName(alias.data);
  }
}

/** How long "there is nothing" may be believed. (RFC 2308, 5) */
function negativeLifeMs(authorities: readonly DnsRecord[]): number | undefined {
  const soa = authorities.find((record) => record.type === "SOA");
  return soa === undefined ? undefined : Math.min(lifeMs(soa.ttl), lifeMs(soa.data.minimum));
}

function lifeMs(ttlSeconds = 0): number {
  // With the highest bit set it is read as zero. (RFC 2181, 8)
  return ttlSeconds > 0x7fff_ffff ? 0 : ttlSeconds * 1000;
}

/** Without those that mean "here" to a socket, and which would lead back into this machine. */
function usableAddresses(addresses: readonly string[], family: Family): string[] {
  const usable = addresses.filter(
    (address) => isIP(address) === (family === "A" ? 4 : 6) && address !== "0.0.0.0" && address !== "::",
  );
  if (usable.length === 0) throw new Error(`expected an address, got ${addresses.join(", ")}`);
  // Consul sends an address along once for each target that has it.
  return [...new Set(usable)];
}

function instance(address: string, port: number, weight: number, source: string): Instance {
  return { address, port, weight, source, health: "passing" };
}

function sorted(instances: Instance[]): Instance[] {
  return instances.sort((a, b) => (endpointKey(a) < endpointKey(b) ? -1 : 1));
}
