/**
 * What a name stands for, put together from as many questions as that takes.
 *
 * All of it is known or none: where one question stays without an answer there is no list, since a list that lacks
 * what could not be asked looks like one from which something was taken away. There are two exceptions. One is a family of
 * addresses that no endpoint has had so far: there are servers that know A records and fail for every AAAA, and
 * who has lived without the one family goes on without it. The other is the reserve, the targets of a service behind
 * those of the first priority: they are often of another zone, whose servers are away just when the first ones are wanted to
 * be known. One that cannot be asked is where it was last.
 */
import { endpointKey } from "../../core/index.ts";
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
  /** Why something is not known that can be done without. */
  readonly without: string | undefined;
  /** Where the targets of the reserve are. */
  readonly reserve: Reserve;
}

/** Addresses of targets, by their names. */
export type Reserve = ReadonlyMap<string, readonly string[]>;

export interface Asking {
  readonly client: Pick<DnsClient, "ask">;
  /** For the endpoints: who named them. */
  readonly source: string;
  /** The families that endpoints have had. */
  readonly relied: ReadonlySet<Family>;
  /** Where the targets of the reserve were. */
  readonly reserve: Reserve;
  /** Told the first level when others have to be asked for, which may take its time. */
  readonly onFirst: (instances: readonly Instance[]) => void;
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
  const instances = addressInstances(addresses, port, asking.source);
  return { instances, ttlMs: known(ttlMs), without, reserve: new Map() };
}

/**
 * The endpoints of all targets. Those of the lowest priority are the first level, and each further priority is one behind it
 * whether or not targets of those before it exist, so that a level keeps its place. RFC 2782 wants a level used when the
 * ones before it cannot be reached, which is found out where requests are sent.
 * @throws Error when what there is cannot be known
 */
export async function lookUpService(name: string, asking: Asking): Promise<Listing> {
  let sent: Additional = () => undefined;
  const service = await follow(name, "SRV", asking, (answer, at) => {
    sent = readAdditional(answer);
    return readTargets(answer, at);
  });
  let { ttlMs } = service;
  let without: string | undefined;
  let isFirstTold = false;
  const instances = new Map<string, Instance>();
  const reserve = new Map<string, readonly string[]>();
  for (const [level, group] of byPriority(service.found).entries()) {
    const isReserve = instances.size > 0;
    if (isReserve && !isFirstTold && group.some((target) => sent(target.name) === undefined)) {
      isFirstTold = true;
      asking.onFirst([...instances.values()]);
    }
    const resolved = await resolveAll(group, sent, asking, isReserve);
    const placed: PlacedTarget[] = [];
    for (const target of group) {
      const at = resolved.get(target.name)!;
      ttlMs = Math.min(ttlMs, at.ttlMs);
      without ??= at.without;
      if (at.addresses.length > 0) placed.push({ ...target, addresses: at.addresses });
      if (isReserve) reserve.set(target.name, at.addresses);
    }
    // A machine that is in two levels is in the first of them.
    for (const instance of targetInstances(placed, level, asking.source)) {
      const key = endpointKey(instance);
      if (!instances.has(key)) instances.set(key, instance);
    }
  }
  return { instances: [...instances.values()], ttlMs: known(ttlMs), without, reserve };
}

/** Where each target is, by its name: as the server sent along, or else asked for. */
async function resolveAll(
  group: readonly Target[],
  sent: Additional,
  asking: Asking,
  isReserve: boolean,
): Promise<Map<string, Addresses>> {
  const resolved = new Map<string, Addresses>();
  const names = [...new Set(group.map(({ name }) => name))];
  const work = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      try {
        resolved.set(name, sent(name) ?? (await resolve(name, asking)));
      } catch (thrown) {
        if (isReserve && !asking.signal.aborted) {
          resolved.set(name, lastKnown(name, asking, thrown as Error));
          continue;
        }
        // Without this one there is no list, so the others need not be asked any more.
        names.length = 0;
        throw thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: TARGETS_AT_ONCE }, work));
  return resolved;
}

function lastKnown(name: string, { reserve }: Asking, { message }: Error): Addresses {
  return { addresses: reserve.get(name) ?? [], ttlMs: Number.POSITIVE_INFINITY, without: message };
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
