import fc from "fast-check";
import { test } from "tap";
import { type Balancer, type Candidate, createBalancer, PeakEwma } from "../../balancing/index.ts";
import { below, type Random } from "../../core/index.ts";
import { Host } from "../support/hash-figures.ts";
import { seededRandom } from "../support/seeded-random.ts";

/** Begins at the first of the list. */
const NO_CHANCE: Random = { next: () => 0 };

/** An endpoint as the proxy keeps it: its weight changes, and a new list comes with it. */
class Replica extends Host {
  declare weight: number;
}

function replicas(...weights: number[]): Replica[] {
  return weights.map((weight, i) => new Replica(String.fromCharCode(65 + i), weight));
}

function inTurn(random: Random): Balancer {
  return createBalancer({ algorithm: "roundRobin" }, random);
}

function picks(balancer: Balancer, among: readonly Replica[], count: number): Replica[] {
  return Array.from({ length: count }, () => balancer.pick(among, 0)!);
}

function names(chosen: readonly Replica[]): string {
  return chosen.map(({ key }) => key).join("");
}

function turnsOf(chosen: readonly Replica[], among: readonly Replica[]): number[] {
  return among.map((replica) => chosen.filter((one) => one === replica).length);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** By how many turns anybody is ahead of its share in any run of these picks, at most; the share may differ at each. */
function greatestLead(chosen: readonly Replica[], among: readonly Replica[], shareAt: ShareAt): number {
  let most = 0;
  for (const replica of among) {
    let lead = 0;
    for (const [i, one] of chosen.entries()) {
      lead = Math.max(0, lead) + (one === replica ? 1 : 0) - shareAt(replica, i);
      most = Math.max(most, lead);
    }
  }
  return most;
}

type ShareAt = (replica: Replica, pick: number) => number;

function shareIn(among: readonly Replica[]): ShareAt {
  const weights = new Map(among.map((replica) => [replica, replica.weight]));
  const total = sum([...weights.values()]);
  return (replica) => (weights.get(replica) ?? 0) / total;
}

// --- one list

test("round robin gives turns by weight and spreads them", async (t) => {
  const sequences: [number[], string][] = [
    [[1, 1, 1], "ABCABC"],
    [[3, 1, 1], "ABACAABACA"],
    // Credits, as nginx has them, give AABACAA: four in a row where one round meets the next.
    [[5, 1, 1], "ABAACAAABAACAA"],
    [[1, 2], "BABBAB"],
    [[0.5, 1.5, 0.5], "BABCBBABCB"],
  ];
  for (const [weights, expected] of sequences)
    t.equal(names(picks(inTurn(NO_CHANCE), replicas(...weights), expected.length)), expected, `${weights}`);
});

test("in each round every endpoint gets exactly its weight in turns, whatever the weights, wherever it begins", async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
      fc.nat(),
      (weights, seed) => {
        const among = replicas(...weights);
        const balancer = inTurn(seededRandom(seed));
        return [1, 2, 3].every(() => {
          const turns = turnsOf(picks(balancer, among, sum(weights)), among);
          return turns.every((count, i) => count === weights[i]);
        });
      },
    ),
  );
});

test("at every moment everybody has had its share of the turns but for less than one, also with fractions of weights", async () => {
  const weight = fc.oneof(
    fc.integer({ min: 1, max: 1000 }),
    fc.integer({ min: 1, max: 200 }).map((n) => n / 20),
  );
  fc.assert(
    fc.property(fc.array(weight, { minLength: 2, maxLength: 20 }), (weights) => {
      const among = replicas(...weights);
      const total = sum(weights);
      const had = new Map(among.map((replica) => [replica, 0]));
      const balancer = inTurn(NO_CHANCE);
      for (let turn = 1; turn <= 500; turn++) {
        const chosen = balancer.pick(among, 0)!;
        had.set(chosen, had.get(chosen)! + 1);
        for (const [{ weight }, turns] of had)
          if (Math.abs(turns - (turn * weight) / total) >= 1) return false;
      }
      return true;
    }),
  );
});

test("sidecars that start together begin at different endpoints, each as often as its share", async (t) => {
  for (const weights of [
    [1, 1, 1, 1, 1],
    [3, 1, 1],
  ]) {
    const among = replicas(...weights);
    const random = seededRandom(4);
    const firsts = Array.from({ length: 10_000 }, () => inTurn(random).pick(among, 0)!);
    for (const [i, count] of turnsOf(firsts, among).entries()) {
      const share = weights[i]! / sum(weights);
      // Five standard deviations are at most 2.5 %.
      t.ok(Math.abs(count / 10_000 - share) < 0.025, `${count} of 10,000 for ${share}`);
    }
    const again = () => names(picks(inTurn(seededRandom(7)), among, 50));
    t.equal(again(), again(), "the same chance, the same turns");
  }
});

test("a turn looks at nobody's weight once the list is known, and so does a draw by chance", async (t) => {
  let looks = 0;
  class Watched implements Candidate {
    readonly key: string;
    readonly #weight: number;
    readonly inFlight = 0;
    readonly latency: PeakEwma = new PeakEwma();

    constructor(key: string, weight: number) {
      this.key = key;
      this.#weight = weight;
    }

    get weight(): number {
      looks++;
      return this.#weight;
    }
  }
  for (const algorithm of ["roundRobin", "random"] as const)
    for (const kinds of [1, 3]) {
      const among = Array.from({ length: 1000 }, (_, i) => new Watched(`${i}`, 1 + (i % kinds)));
      const balancer = createBalancer({ algorithm }, seededRandom(1));
      balancer.pick(among, 0);
      t.ok(looks >= 1000, `${looks} at first`);
      looks = 0;
      for (let i = 0; i < 100; i++) balancer.pick(among, 0);
      t.equal(looks, 0, `${algorithm} of ${kinds} different weights`);
      const other = among.slice(500);
      for (let i = 0; i < 3; i++) balancer.pick(other, 0);
      looks = 0;
      for (let i = 0; i < 100; i++) balancer.pick(i % 2 === 0 ? among : other, 0);
      t.equal(looks, 0, "and of two lists that are used by turns");
    }
});

// --- lists that follow each other

test("a new list of endpoints keeps the place of those that stay", async (t) => {
  const [a, b, c] = replicas(1, 1, 1) as [Replica, Replica, Replica];
  const balancer = inTurn(NO_CHANCE);
  t.equal(names(picks(balancer, [a, b], 1)), "A");
  t.equal(names(picks(balancer, [a, b], 1)), "B", "a copy of the list is the same list");
  t.equal(names(picks(balancer, [a, b], 1)), "A");
  t.equal(names(picks(balancer, [a, b, c], 3).sort((x, y) => (x.key < y.key ? -1 : 1))), "ABC");
});

test("copies of a list, however long each is in use, change no turn", async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      fc.nat(),
      (weights, lengths, seed) => {
        const among = replicas(...weights);
        const [one, other] = [inTurn(seededRandom(seed)), inTurn(seededRandom(seed))];
        return lengths.every(
          (length) => names(picks(one, [...among], length)) === names(picks(other, among, length)),
        );
      },
    ),
  );
});

test("when one of many equals goes or comes, the others go on in their order", async (t) => {
  const all = replicas(...new Array(20).fill(1));
  const balancer = inTurn(seededRandom(3));
  const order = picks(balancer, all, 27).slice(7);
  const fewer = all.filter((replica) => replica !== order[5]);
  // The first pick of a shorter list takes no turn.
  balancer.pick(fewer, 0);
  const left = order.filter((replica) => replica !== order[5]);
  t.equal(names(picks(balancer, fewer, 19)), names(left));
  const more = [...fewer, new Replica("new", 1)];
  const turns = picks(balancer, more, 20);
  t.equal(names(turns.filter(({ key }) => key !== "new")), names(left));
  t.equal(new Set(turns).size, 20, "the new one has one turn of twenty");
});

test("neither those that come nor those that stay get a burst, whatever the weights", async (t) => {
  const random = seededRandom(8);
  const weight = (kinds: number) => 1 + below(random, kinds);
  let most = 0;
  for (let round = 0; round < 300; round++) {
    const kinds = round % 2 === 0 ? 1 : 10;
    const balancer = inTurn(random);
    let among = Array.from({ length: 2 + below(random, 30) }, (_, i) => new Replica(`${i}`, weight(kinds)));
    picks(balancer, among, below(random, 100));
    for (let change = 0; change < 4; change++) {
      const stay = among.filter(() => random.next() < 0.7);
      const come = Array.from({ length: 2 + below(random, 30) }, () => new Replica("new", weight(kinds)));
      const before = among;
      among = [...stay, ...come];
      const chosen = [...picks(balancer, before, 40), ...picks(balancer, among, 200)];
      const [old, now] = [shareIn(before), shareIn(among)];
      const shareAt: ShareAt = (replica, i) => (i < 40 ? old(replica, i) : now(replica, i));
      most = Math.max(most, greatestLead(chosen, [...new Set([...before, ...among])], shareAt));
    }
  }
  // Two without a change; what those that went were owed comes on top, and the first turn, which is by chance.
  t.ok(most < 4, `${most} turns`);
});

test("those that come get places among those that stay, and not before or after them", async (t) => {
  const random = seededRandom(2);
  for (const weights of [
    [1, 1, 1, 1, 1],
    [1, 2, 3, 2, 1],
  ]) {
    let early = 0;
    for (let round = 0; round < 400; round++) {
      const balancer = inTurn(random);
      const before = replicas(...weights);
      picks(balancer, before, 20);
      const come = replicas(...weights);
      const half = picks(balancer, [...before, ...come], sum(weights));
      early += half.filter((one) => come.includes(one)).length / half.length;
    }
    t.ok(Math.abs(early / 400 - 0.5) < 0.15, `${early / 400} of the first half of a round`);
  }
});

test("however often one leaves just after its turn, the one that comes for it waits no longer", async (t) => {
  const among = replicas(1, 2, 3);
  const balancer = inTurn(seededRandom(2));
  picks(balancer, among, 10);
  let longest = 0;
  for (let change = 0; change < 300; change++) {
    const list = [...among, new Replica("new", 2)];
    let waited = 1;
    while (balancer.pick(list, 0) !== list[3] && waited < 1000) waited++;
    longest = Math.max(longest, waited);
  }
  t.ok(longest <= 12, `${longest} picks, where every fourth is its share`);
});

test("while a weight grows in steps, its turns grow with it", async (t) => {
  const among = replicas(2, 2, 2, 2);
  const cold = new Replica("cold", 0.1);
  const balancer = inTurn(seededRandom(5));
  picks(balancer, among, 30);
  let due = 0;
  let had = 0;
  for (let step = 1; step <= 20; step++) {
    cold.weight = step / 10;
    const list = [...among, cold];
    had += turnsOf(picks(balancer, list, 37), [cold])[0]!;
    due += (37 * cold.weight) / (8 + cold.weight);
    t.ok(Math.abs(had - due) < 2, `${had} turns of ${due} after step ${step}`);
  }
});

// --- lists that alternate

test("lists without those that were tried take no turn: the turns of the whole list are as if there were none", async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 3, maxLength: 10 }),
      fc.array(fc.nat(9), { minLength: 50, maxLength: 50 }),
      fc.nat(),
      (weights, tried, seed) => {
        const among = replicas(...weights);
        const [alone, retried] = [inTurn(seededRandom(seed)), inTurn(seededRandom(seed))];
        return tried.every((place) => {
          if (alone.pick(among, 0) !== retried.pick(among, 0)) return false;
          const rest = among.toSpliced(place % among.length, 1);
          return rest.includes(retried.pick(rest, 0)!);
        });
      },
    ),
  );
});

test("what a bad endpoint failed goes to the others by their weights, and not to the next in turn", async (t) => {
  const among = replicas(1, 1, 1, 2, 5);
  const balancer = inTurn(seededRandom(6));
  balancer.pick(among, 0);
  const retries = Array.from({ length: 20_000 }, () => balancer.pick(among.slice(1), 0)!);
  for (const [i, turns] of turnsOf(retries, among).entries()) {
    const share = i === 0 ? 0 : among[i]!.weight / 9;
    // Two percentage points are more than five standard deviations.
    t.ok(Math.abs(turns / 20_000 - share) < 0.02, `${turns} for ${share}`);
  }
});

test("lists that are used in any order each go on where they were", async () => {
  const lists = [replicas(1, 1, 1), replicas(2, 3, 1, 1), replicas(5, 5)];
  fc.assert(
    fc.property(fc.array(fc.nat(2), { minLength: 20, maxLength: 100 }), (order) => {
      const balancer = inTurn(NO_CHANCE);
      // After this each has its turns: what is seen for the first time may be for once.
      for (const list of lists) picks(balancer, list, 2);
      const chosen = lists.map((list) => [list, picks(balancer, list, 0)] as const);
      for (const place of order) chosen[place]![1].push(balancer.pick(lists[place]!, 0)!);
      return chosen.every(([list, turns]) => greatestLead(turns, list, shareIn(list)) < 2);
    }),
  );
});

test("while each request has a list of its own, a new endpoint gets its part, and the others their turns", async (t) => {
  const among = replicas(1, 1, 1, 1);
  const balancer = inTurn(seededRandom(9));
  picks(balancer, among, 10);
  const fresh = new Replica("fresh", 1);
  const chosen = Array.from({ length: 5000 }, () => balancer.pick([...among, fresh], 0)!);
  const turns = turnsOf(chosen, [...among, fresh]);
  t.ok(Math.abs(turns[4]! - 1000) < 150, `${turns[4]} of 5000 for one of five`);
  const others = turns.slice(0, 4);
  t.ok(Math.max(...others) - Math.min(...others) <= 1, `${others}`);
});
