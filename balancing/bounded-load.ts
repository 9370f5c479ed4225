/**
 * The most that a candidate may carry when requests are chosen by hash: so many times its share of all that is under
 * way. Whoever would carry more is passed over, for the next on the circle.
 *
 * A hash spreads keys and not requests: whoever holds the popular key would be overrun, and its neighbours idle. A
 * fixed limit for each would be wrong at every load but one; this one moves with the load. (Mirrokni, Thorup,
 * Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018: with a factor of 1 + e, the change of one candidate
 * or request moves O(1/e^2) others at most.) The choice stays a function of hash and loads: the next of the circle,
 * and not one at random, so that the overflow of a key finds caches that have served it before.
 *
 * The bounds of all sum up to more than what is under way with one request more, so somebody is always below his.
 * A tight factor passes over many, a wide one lets hot spots be; HAProxy recommends 1.25 to 2.
 */
import type { Candidate } from "./balancer.ts";
import { weightOfAll } from "./draw.ts";

/**
 * For a list, who may take one request more: its load after that is at most
 * `ceil(factor * (all in flight + 1) * weight / weight of all)`.
 * @param factor over the mean, from 1.001 on; thousandths count
 * @returns to be asked with at least one candidate, and with what is in flight at all of them, if that is known
 */
export function loadBound(
  factor: number,
): (candidates: readonly Candidate[], total?: number) => (candidate: Candidate) => boolean {
  // In thousandths, so that with whole weights all is in whole numbers: 1.1 times 10 must not be a little above 11.
  const thousandths = Math.round(factor * 1000);
  if (!(thousandths > 1000 && thousandths < Infinity))
    throw new RangeError(`expected a load factor above 1, got ${factor}`);
  return (candidates, total) => {
    const weight = weightOfAll(candidates);
    // For whole loads, below `ceil(x)` is below `x`.
    if (total !== undefined) {
      const all = thousandths * (total + 1);
      return (candidate) => 1000 * candidate.inFlight * weight < all * candidate.weight;
    }
    const count = candidates.length;
    // Nobody has kept the sum, and one of a moment ago would not do: requests end without a word to a balancer. It is made
    // only as far as it is needed to see that the candidate is below its bound: an idle one needs none.
    let summed = 0;
    let inFlight = 0;
    return (candidate) => {
      const load = 1000 * candidate.inFlight * weight;
      const share = thousandths * candidate.weight;
      while (share * (inFlight + 1) <= load) {
        if (summed === count) return false;
        inFlight += candidates[summed++]!.inFlight;
      }
      return true;
    };
  };
}
