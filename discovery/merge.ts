/**
 * From what several sources offer to the endpoints of one upstream. A decision without I/O and without time.
 *
 * A choice among endpoints that are well is made here where it is all or nothing: `fallback` turns to the next source when
 * nobody of this one is well. Where there are levels of priority it is a matter of shares, which is the balancer's: it is
 * told of those that are not well too, since how much a level can carry is seen from how many of it are well. Where
 * there is one level they say nothing to anybody, and are left out as ever.
 */
import { type Endpoint, endpointKey } from "../core/index.ts";

/**
 * `union` uses all sources together; `fallback` the first that has an endpoint which is well; `priority` all of them, each
 * with levels behind those of the one before it.
 */
export const MERGES = ["fallback", "union", "priority"] as const;
export type Merge = (typeof MERGES)[number];

/** What a source has, as its guard sees it. */
export interface Offer {
  /** Those in use. */
  readonly endpoints: readonly Endpoint[];
  /** Keys of those in use that are unwell by the source's word. */
  readonly lastResort: ReadonlySet<string>;
  /** Those that are known and not in use, as they are unwell by the source's word. */
  readonly unwell: readonly Endpoint[];
}

export const NOTHING: Offer = { endpoints: [], lastResort: new Set(), unwell: [] };

/**
 * @param offers in the order of preference
 * @param failing by their active checks
 */
export function merged(
  offers: readonly Offer[],
  merge: Merge,
  failing: (key: string) => boolean,
): readonly Endpoint[] {
  const ranked = merge === "priority" ? behindEachOther(offers) : offers;
  const isWell = ({ lastResort }: Offer, endpoint: Endpoint) => {
    const key = endpointKey(endpoint);
    return !lastResort.has(key) && !failing(key);
  };
  const parted = ranked.map((offer) => ({
    ...offer,
    well: offer.endpoints.filter((endpoint) => isWell(offer, endpoint)),
  }));
  // Nobody is told of unwell ones where a guard has found that nobody may serve.
  const [first] = parted.filter(({ endpoints }) => isInhabited(endpoints));
  if (first === undefined) return [];
  const used = merge === "fallback" ? [parted.find(({ well }) => isInhabited(well)) ?? first] : parted;
  const well = union(used.map((one) => one.well));
  const known = [well, ...used.map(({ endpoints }) => endpoints), ...used.map(({ unwell }) => unwell)];
  if (hasLevels(known.flat())) {
    const all = union(known);
    // The same addresses in each source are one level, whatever the order of the sources.
    if (hasLevels(all))
      return all.map((endpoint, place) => (place < well.length ? endpoint : { ...endpoint, unwell: true }));
  }
  return isInhabited(well) ? well : union(used.map(({ endpoints }) => endpoints));
}

/** Each address once; the first list that has it counts, and the order is theirs. */
export function union(lists: readonly (readonly Endpoint[])[]): readonly Endpoint[] {
  const byKey = new Map<string, Endpoint>();
  for (const endpoint of lists.flat()) {
    const key = endpointKey(endpoint);
    if (!byKey.has(key)) byKey.set(key, endpoint);
  }
  return [...byKey.values()];
}

/** With the levels of each source behind all of those before it; one that has nobody keeps a level free. */
function behindEachOther(offers: readonly Offer[]): Offer[] {
  let free = 0;
  return offers.map(({ endpoints, lastResort, unwell }) => {
    const from = free;
    const lower = (endpoint: Endpoint) =>
      from === 0 ? endpoint : { ...endpoint, priority: from + levelOf(endpoint) };
    const last = [...endpoints, ...unwell].reduce((most, one) => Math.max(most, levelOf(one)), 0);
    free += last + 1;
    return { endpoints: endpoints.map(lower), lastResort, unwell: unwell.map(lower) };
  });
}

function hasLevels(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some((endpoint) => levelOf(endpoint) !== levelOf(endpoints[0]!));
}

function levelOf({ priority = 0 }: Endpoint): number {
  return priority;
}

function isInhabited(list: readonly Endpoint[]): boolean {
  return list.length > 0;
}
