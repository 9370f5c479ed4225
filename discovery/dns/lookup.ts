/**
 * What a name stands for, put together from as many questions as that takes.
 *
 * All of it is known or none: where one question stays without an answer there is no list, since a list that lacks
 * what could not be asked looks like one from which something was taken away. The one exception is a family of
 * addresses that no endpoint has had so far: there are servers that know A records and fail for every AAAA, and
 * who has lived without the one family goes on without it.
 */
import type { Instance } from "../source.ts";
import {
  type Additional,
  addressInstances,
  byPriority,
  type Family,
  type PlacedTarget,
  type Reading,
  readAdditional,
  readAddresses,
  readTargets,
  type Target,
  targetInstances,
} from "./answers.ts";
import type { Answer, DnsClient } from "./client.ts";
import type { QuestionType } from "./message.ts";

export interface Listing {
  readonly instances: readonly Instance[];
  /** How long this may be believed; undefined when nothing was said of it. */
  readonly ttlMs: number | undefined;
  /** Why a family of addresses that no endpoint has had is not known. */
  readonly without: string | undefined;
}

export interface Asking {
  readonly client: Pick<DnsClient, "ask">;
  /** For the endpoints: who named them. */
  readonly source: string;
  /** The families that endpoints have had. */
  readonly relied: ReadonlySet<Family>;
  readonly signal: AbortSignal;
}

interface Addresses {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
  readonly without?: string | undefined;
}

/** So many targets are resolved at once; each takes two sockets. */
const TARGETS_AT_ONCE = 8;
/** An alias may lead out of an answer so often. */
const MOST_HOPS = 8;

/**
 * One endpoint for each address of a name.
 * @throws Error when what there is cannot be known
 */
export async function lookUpAddresses(name: string, port: number, asking: Asking): Promise<Listing> {
  const { addresses, ttlMs, without } = await resolve(name, asking);
  return { instances: addressInstances(addresses, port, asking.source), ttlMs: known(ttlMs), without };
}

/**
 * The endpoints of the lowest priority of which at least one target exists. The others are for when that group is
 * gone, which is what RFC 2782 means them for; that a group is there and ill is not seen here.
 * @throws Error when what there is cannot be known
 */
export async function lookUpService(name: string, asking: Asking): Promise<Listing> {
  let sent: Additional = () => undefined;
  const service = await follow(name, "SRV", asking, (answer, at) => {
    sent = readAdditional(answer);
    return readTargets(answer, at);
  });
  let { ttlMs } = service;
  for (const group of byPriority(service.found)) {
    const resolved = await resolveAll(group, sent, asking);
    const placed: PlacedTarget[] = [];
    let without: string | undefined;
    for (const target of group) {
      const at = resolved.get(target.name)!;
      ttlMs = Math.min(ttlMs, at.ttlMs);
      without ??= at.without;
      if (at.addresses.length > 0) placed.push({ ...target, addresses: at.addresses });
    }
    if (placed.length > 0)
      return { instances: targetInstances(placed, asking.source), ttlMs: known(ttlMs), without };
  }
  return { instances: [], ttlMs: known(ttlMs), without: undefined };
}

/** Where each target is, by its name: as the server sent along, or else asked for. */
async function resolveAll(
  group: readonly Target[],
  sent: Additional,
  asking: Asking,
): Promise<Map<string, Addresses>> {
  const resolved = new Map<string, Addresses>();
  const names = [...new Set(group.map(({ name }) => name))];
  const work = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      try {
        resolved.set(name, sent(name) ?? (await resolve(name, asking)));
      } catch (thrown) {
        // Without this one there is no list, so the others need not be asked any more.
        names.length = 0;
        throw thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: TARGETS_AT_ONCE }, work));
  return resolved;
}

async function resolve(name: string, asking: Asking): Promise<Addresses> {
  const families = ["A", "AAAA"] as const;
  const outcomes = await Promise.allSettled(
    families.map((family) => follow(name, family, asking, (answer, at) => readAddresses(answer, at, family))),
  );
  const addresses: string[] = [];
  let foundMs = Number.POSITIVE_INFINITY;
  let nothingMs = Number.POSITIVE_INFINITY;
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") continue;
    const { found, ttlMs } = outcome.value;
    addresses.push(...found);
    if (found.length > 0) foundMs = Math.min(foundMs, ttlMs);
    else nothingMs = Math.min(nothingMs, ttlMs);
  }
  let without: string | undefined;
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.status === "fulfilled") continue;
    if (addresses.length === 0 || asking.relied.has(families[i]!)) throw outcome.reason;
    without = (outcome.reason as Error).message;
  }
  // How long there is nothing of one family matters only where there is nothing of the other.
  return { addresses, ttlMs: addresses.length > 0 ? foundMs : nothingMs, without };
}

/** Asks, and asks again where an alias leads out of the answer. */
async function follow<Found>(
  name: string,
  type: QuestionType,
  { client, signal }: Asking,
  read: (answer: Answer, name: string) => Reading<Found>,
): Promise<{ readonly found: readonly Found[]; readonly ttlMs: number }> {
  let current = name;
  let ttlMs = Number.POSITIVE_INFINITY;
  for (let hops = 0; hops <= MOST_HOPS; hops++) {
    const reading = read(await client.ask({ name: current, type }, signal), current);
    ttlMs = Math.min(ttlMs, reading.ttlMs ?? Number.POSITIVE_INFINITY);
    if (reading.kind === "found") return { found: reading.found, ttlMs };
    if (reading.kind === "nothing") return { found: [], ttlMs };
    current = reading.name;
  }
  throw new Error(`${name} ${type}: its aliases lead further than ${MOST_HOPS} answers`);
}

function known(ttlMs: number): number | undefined {
  return Number.isFinite(ttlMs) ? ttlMs : undefined;
}
