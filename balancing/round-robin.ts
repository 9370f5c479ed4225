/**
 * Turn by turn, in proportion to weight, and smoothly: a candidate of weight 3 beside two of weight 1 gets
 * A B A C A, not A A A B C, so that no replica sees a burst. (nginx's smooth weighted round robin, 2012: each
 * turn everybody gains its weight, the richest is chosen and pays the total.)
 *
 * Choose it when replicas are equal and requests are, too; it does not see that one of them is slow.
 */
import type { Balancer, Candidate } from "./balancer.ts";

export function roundRobinBalancer(): Balancer {
  // Keyed by the candidate, so that a new snapshot keeps the place of those that stay.
  const credits = new WeakMap<Candidate, { value: number }>();
  return {
    pick<C extends Candidate>(candidates: readonly C[]): C | undefined {
      let richest: C | undefined;
      let richestCredit: { value: number } | undefined;
      let total = 0;
      for (const candidate of candidates) {
        let credit = credits.get(candidate);
        if (credit === undefined) {
          credit = { value: 0 };
          credits.set(candidate, credit);
        }
        credit.value += candidate.weight;
        total += candidate.weight;
        if (richestCredit === undefined || credit.value > richestCredit.value) {
          richest = candidate;
          richestCredit = credit;
        }
      }
      if (richestCredit !== undefined) richestCredit.value -= total;
      return richest;
    },
  };
}
