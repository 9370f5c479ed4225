/**
 * Turn by turn, in proportion to weight, and smoothly: a candidate of weight 3 beside two of weight 1 gets A B A C A,
 * not A A A B C, so that no replica sees a burst. How turns are made is decided in rotation.ts and weighted-turns.ts;
 * here, what becomes of them when the list changes.
 *
 * Choose it when replicas are equal and requests are, too; it does not see that one of them is slow.
 *
 * Each list that lasts has turns of its own, made when it is seen for the second time: those that stay keep their
 * places, and new ones get places among them by chance. A list that is seen for the first time may be for a single pick. If
 * it is shorter, it is without those that a request has tried, or that a breaker refuses: then the choice is by chance, in
 * proportion to weight, and takes no turn. Taken in turn, all that a bad replica failed would go to the one after it; and if
 * a retry took a turn, the turn of the bad one would come back sooner: of two, it would be the first at every request. Any
 * other list is a new snapshot, and its first pick is a turn of the one before.
 */
import { below, type Random } from "../core/index.ts";
import type { Balancer, Candidate } from "./balancer.ts";
import { drawOne, weightsDiffer } from "./draw.ts";
import { Lately } from "./lately.ts";
import { Rotation, type Turns } from "./rotation.ts";
import { WeightedTurns } from "./weighted-turns.ts";

/** Where a candidate had its last turn; nowhere if its list was followed by one without it. */
interface Seat {
  round: Round | undefined;
  place: number;
}

/** The turns of one list. */
interface Round {
  readonly list: readonly Candidate[];
  readonly turns: Turns;
  readonly seats: readonly Seat[];
}

/** Two zones of four priorities. One more, and the turns of the one that was used longest ago begin anew. */
const LISTS_AT_A_TIME = 8;

/** How often one is drawn that is not in the list, before the list is drawn from without weights. */
const MOST_DRAWS = 64;

export function roundRobinBalancer(random: Random): Balancer {
  const rounds = new Rounds(random);
  return {
    pick<C extends Candidate>(candidates: readonly C[]): C | undefined {
      return candidates.length < 2 ? candidates[0] : rounds.choose(candidates);
    },
  };
}

class Rounds {
  readonly #random: Random;
  readonly #rounds = new Lately<readonly Candidate[], Round | "seen">(LISTS_AT_A_TIME);
  /** Kept by candidate, so that a new snapshot keeps the places of those that stay. */
  readonly #seats = new WeakMap<Candidate, Seat>();
  #last: Round | undefined = undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    if (this.#last?.list === candidates) return candidates[nextOf(this.#last)]!;
    const known = this.#rounds.get(candidates);
    if (known === undefined && this.#last !== undefined) {
      this.#rounds.set(candidates, "seen");
      return this.#chooseWithoutRound(candidates);
    }
    const round = typeof known === "object" ? known : this.#begin(candidates);
    this.#last = round;
    return candidates[nextOf(round)]!;
  }

  /**
   * By the round of one that is drawn. Whoever is in none is new, and is chosen if it is drawn, which is its share among
   * equals. Without this, an endpoint whose breaker is half open would get no probe while its list is a new one at each
   * request.
   */
  #chooseWithoutRound<C extends Candidate>(candidates: readonly C[]): C {
    const drawn = candidates[below(this.#random, candidates.length)]!;
    const round = this.#seats.get(drawn)?.round;
    if (round === undefined) return drawn;
    if (candidates.length >= round.list.length) {
      const place = nextOf(round);
      const chosen = find(candidates, round.list[place]!, place);
      if (chosen !== undefined) return chosen;
    }
    for (let i = 0; i < MOST_DRAWS; i++) {
      const place = drawOne(round.list, this.#random);
      const chosen = find(candidates, round.list[place]!, place);
      if (chosen !== undefined) return chosen;
    }
    return drawn;
  }

  #begin(list: readonly Candidate[]): Round {
    const seats = this.#seatsOf(list);
    const turns = this.#turnsOf(list, this.#phasesOf(seats));
    const round: Round = { list, turns, seats };
    const before = new Set<Round>();
    let last: Round | undefined;
    for (let place = 0; place < seats.length; place++) {
      const seat = seats[place]!;
      if (seat.round !== undefined && seat.round !== last) {
        last = seat.round;
        before.add(last);
      }
      seat.round = round;
      seat.place = place;
    }
    for (const old of before) forgetRest(old);
    this.#rounds.set(list, round);
    return round;
  }

  #turnsOf(list: readonly Candidate[], phases: Float64Array | undefined): Turns {
    if (!weightsDiffer(list)) return new Rotation(list.length, phases, this.#random);
    const weights = new Float64Array(list.length);
    for (let i = 0; i < weights.length; i++) weights[i] = list[i]!.weight;
    return new WeightedTurns(weights, phases, this.#random);
  }

  /** A list is often another but for a few, so the seat beside the last one is tried before it is looked up. */
  #seatsOf(list: readonly Candidate[]): Seat[] {
    let round = this.#last;
    let place = 0;
    return list.map((candidate) => {
      if (round?.list[place] !== candidate && round?.list[place + 1] === candidate) place++;
      if (round?.list[place] === candidate) return round.seats[place++]!;
      const known = this.#seats.get(candidate);
      if (known?.round !== undefined) {
        round = known.round;
        place = known.place + 1;
      }
      if (known !== undefined) return known;
      // Often in the place of one that has gone.
      place++;
      const seat: Seat = { round: undefined, place: 0 };
      this.#seats.set(candidate, seat);
      return seat;
    });
  }

  /** Undefined if all are new: then they begin in the order of the list. */
  #phasesOf(seats: readonly Seat[]): Float64Array | undefined {
    const known = new Map<Round, Float64Array>();
    const phases = new Float64Array(seats.length);
    let last: Round | undefined;
    let those: Float64Array = phases;
    for (let i = 0; i < seats.length; i++) {
      const { round, place } = seats[i]!;
      if (round === undefined) {
        phases[i] = this.#random.next();
        continue;
      }
      if (round !== last) {
        last = round;
        those = known.get(round) ?? round.turns.phases();
        known.set(round, those);
      }
      phases[i] = those[place]!;
    }
    return known.size === 0 ? undefined : phases;
  }
}

/** Takes a turn. */
function nextOf(round: Round): number {
  const place = round.turns.next();
  const seat = round.seats[place]!;
  if (seat.round !== round) {
    seat.round = round;
    seat.place = place;
  }
  return place;
}

/** Those that were left out when another list took the place of theirs would keep alive all that was made for it. */
function forgetRest(round: Round): void {
  const rest = round.seats.filter((seat) => seat.round === round);
  // Otherwise it is in use beside the new one.
  if (2 * rest.length <= round.seats.length) for (const seat of rest) seat.round = undefined;
}

/** A copy of the list but for a few has it at the same place or a little before: there is no need to look everywhere. */
const NEAR = 8;

function find<C extends Candidate>(
  candidates: readonly C[],
  wanted: Candidate,
  place: number,
): C | undefined {
  for (let at = place; at >= 0 && at > place - NEAR; at--) {
    const candidate = candidates[at];
    if (candidate === wanted) return candidate;
  }
  return candidates.find((candidate) => candidate === wanted);
}
