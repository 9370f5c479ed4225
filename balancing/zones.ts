/**
 * How much of its traffic a sidecar keeps in its own zone, and where the rest goes.
 *
 * Not "own zone first, as if it were a priority": its share of the endpoints may be smaller than its share of the callers,
 * and no endpoint of it need be unhealthy for that. Two endpoints here and eight elsewhere would carry half of
 * the traffic of two zones. Not by endpoints alone either: then two of three requests leave the zone for nothing.
 *
 * Envoy's zone aware routing weighs both: a zone keeps its callers' requests as far as its part of the capacity covers its
 * part of the callers, and the rest goes where capacity is left over. It needs to know how the callers are spread, which
 * Envoy takes from a cluster of its own peers. A sidecar that knows its peers may hand them in here; one that does not
 * assumes what an orchestrator that spreads replicas aims at: as many callers in each zone. The assumption stands
 * where it can be seen, the arithmetic is the same, and there is no second rule to reason about.
 *
 * Envoy gives strictly equal load per endpoint, so ten endpoints in three zones send a tenth of a zone's requests abroad,
 * for ever, for the sake of one endpoint. Here a zone keeps all as long as its endpoints get at most `tolerance` times
 * the mean. It is the over-provisioning of priorities, 1.4, by another name: what levels are built to carry, zones are,
 * too. With a tolerance of 1 it is Envoy's rule. As long as the callers are where they are said to be, no endpoint
 * of any zone gets more than `tolerance` times the mean; the test proves it with all zones playing.
 *
 * Health comes in by capacity: an endpoint that may not be chosen is none. (Within one level of priority; in panic,
 * hand in everybody's weight.)
 */
import { exactShares } from "./shares.ts";

export interface ZoneCapacity {
  /** "" for endpoints that are nowhere known: they are nobody's own zone and take what is left over. */
  readonly zone: string;
  /** How many endpoints there are, well or not, so that the rule does not come and go with one that flaps. */
  readonly endpoints: number;
  /** The weights of those that may be chosen, added up. */
  readonly weight: number;
}

export interface ZoneOptions {
  /** With fewer endpoints in all zones together, zones are not looked at. Envoy: 6. */
  readonly minimumEndpoints: number;
  /** How many times the mean load the endpoints of the own zone may get before requests leave it; at least 1. Envoy: 1. */
  readonly tolerance: number;
}

export const DEFAULT_ZONES: ZoneOptions = { minimumEndpoints: 6, tolerance: 1.4 };

/**
 * @param zones each once
 * @param own where this sidecar is; undefined when it does not know
 * @param callers how many there are in each zone, this sidecar's peers; undefined when it does not know
 * @returns the share of each zone, in the order of `zones`; they add up to exactly 1, or are all 0 when there is no weight
 */
export function zoneShares(
  zones: readonly ZoneCapacity[],
  own: string | undefined,
  { minimumEndpoints, tolerance }: ZoneOptions = DEFAULT_ZONES,
  callers?: ReadonlyMap<string, number>,
): number[] {
  const weights = zones.map(({ weight }) => weight);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const endpoints = zones.reduce((sum, zone) => sum + zone.endpoints, 0);
  if (own === undefined || own === "" || total === 0 || endpoints < minimumEndpoints)
    return exactShares(weights);
  const callersIn = spreadOf(callers, zones, own);
  const ownCallers = callersIn(own);
  // Nobody said that this sidecar exists: its peers' list is older than itself.
  if (!(ownCallers > 0)) return exactShares(weights);

  const capacityOf = ({ weight }: ZoneCapacity) => weight / total;
  const ownZone = zones.find(({ zone }) => zone === own);
  const ownCapacity = ownZone === undefined ? 0 : capacityOf(ownZone);
  const kept = Math.min(1, (tolerance * ownCapacity) / ownCallers);
  const leftOver = zones.map((zone) =>
    zone.zone === own ? 0 : Math.max(0, capacityOf(zone) - callersIn(zone.zone)),
  );
  const allLeftOver = leftOver.reduce((sum, capacity) => sum + capacity, 0);
  // What the own zone lacks of its callers' part, the others have beyond theirs; where rounding has eaten it, nothing leaves.
  if (kept === 1 || allLeftOver === 0) return exactShares(zones.map(({ zone }) => (zone === own ? 1 : 0)));
  return exactShares(
    zones.map(({ zone }, place) => (zone === own ? kept : ((1 - kept) * leftOver[place]!) / allLeftOver)),
  );
}

/** Each zone's part of the callers, in [0, 1]: as told, or the same in each zone that has a name, the own one included. */
function spreadOf(
  callers: ReadonlyMap<string, number> | undefined,
  zones: readonly ZoneCapacity[],
  own: string,
): (zone: string) => number {
  if (callers !== undefined) {
    const all = [...callers.values()].reduce((sum, count) => sum + count, 0);
    return (zone) => (callers.get(zone) ?? 0) / all;
  }
  const named = new Set([own, ...zones.map(({ zone }) => zone)]);
  named.delete("");
  return (zone) => (named.has(zone) ? 1 / named.size : 0);
}
