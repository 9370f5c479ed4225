/**
 * Choosing by hash: a circle of places, each held by a candidate; a request's hash leads to a place. Ring and Maglev
 * differ only in how a circle is laid; when that is done, and what is done meanwhile, is decided here.
 *
 * Not `hash % count`: one candidate more or less would move nearly every key. Not rendezvous hashing either: it moves
 * the fewest, but looks at every candidate for every request.
 *
 * A circle is laid once for a list and kept with it. For thousands of candidates that takes milliseconds, in which a
 * sidecar forwards nothing; and some lists are used once: those without what a request has tried, or in which a
 * half-open breaker waits for its probe. So nothing is laid for a list that is seen for the first time, and for one
 * that is seen again each pick lays a slice of less than a millisecond, until it is done. Meanwhile the circle before
 * serves: who is no longer in the list is passed over, and who is new in it gets an even share. Only the first circle of
 * all is laid at once.
 */
import type { Random } from "../core/index.ts";
import type { Balancer, Candidate } from "./balancer.ts";
import { loadBound } from "./bounded-load.ts";
import { mix32 } from "./hash.ts";
import { type Sliced, whole } from "./hash-order.ts";

export interface Circle {
  /** How many places it has; at least 1. */
  readonly size: number;
  /** @param hash 32 bits without sign */
  placeOf(hash: number): number;
  /** The index, in the list that the circle was laid for, of the candidate that holds the place. */
  holderOf(place: number): number;
  /** It is not asked again: what it is made of may serve the next one. */
  release?(): void;
}

/** @param candidates at least one. The order in which they come must not matter. */
export type LayCircle = (candidates: readonly Candidate[]) => Sliced<Circle>;

interface Laid {
  readonly list: readonly Candidate[];
  readonly circle: Circle;
}

/**
 * What has been done for a list. Not with the list itself: until the next full collection of garbage, what a weak map
 * holds is alive, and a list that is held by it would be copied to and fro with everything made after it.
 */
type Progress = { readonly circle: Circle } | { readonly laying: Sliced<Circle> } | "seen";

/** How far the circle before is followed for one of its candidates that is in the list. */
const MOST_STEPS = 64;

/** Decides which of the new candidates a hash leads to; nothing that a circle is laid with. */
const NEWCOMER_SEED = 0x6e657773;

/**
 * @param random chooses the place of a request that has no hash; its shares are those of the circle
 * @param loadFactor see bounded-load.ts; undefined for no bound
 */
export function circleBalancer(lay: LayCircle, random: Random, loadFactor?: number): Balancer {
  const circles = new Circles(lay);
  const boundOf = loadFactor === undefined ? undefined : loadBound(loadFactor);
  return {
    pick<C extends Candidate>(
      candidates: readonly C[],
      _nowMs: number,
      hash?: number,
      inFlight?: number,
    ): C | undefined {
      if (candidates.length < 2) return candidates[0];
      const at = hash ?? Math.floor(random.next() * 2 ** 32);
      return circles.choose(candidates, at, boundOf?.(candidates, inFlight));
    },
    forget(candidates: readonly Candidate[]): void {
      circles.forget(candidates);
    },
  };
}

type Fits = (candidate: Candidate) => boolean;

class Circles {
  readonly #lay: LayCircle;
  readonly #progress = new WeakMap<readonly Candidate[], Progress>();
  /** The last that was finished or used again: it serves lists that have none. */
  #current: Laid | undefined = undefined;
  /** Whether the list of that one will not come again: it serves until there is another. */
  #isCurrentGone = false;

  constructor(lay: LayCircle) {
    this.#lay = lay;
  }

  /** @param fits undefined if everybody does */
  choose<C extends Candidate>(candidates: readonly C[], hash: number, fits?: Fits): C {
    const current = this.#current;
    const laid = current?.list === candidates ? current : this.#laidFor(candidates);
    if (laid === undefined) return chooseByTheOneBefore(current!, candidates, hash, fits);
    const { circle } = laid;
    const place = circle.placeOf(hash);
    const holder = candidates[circle.holderOf(place)]!;
    if (fits === undefined || fits(holder)) return holder;
    return nextThatFits(circle, place, candidates, fits) ?? holder;
  }

  /** Undefined while there is another circle to go by. */
  #laidFor(list: readonly Candidate[]): Laid | undefined {
    const progress = this.#progress.get(list);
    if (progress === undefined && this.#current !== undefined) {
      this.#progress.set(list, "seen");
      return undefined;
    }
    if (typeof progress === "object" && "circle" in progress)
      return this.#follow({ list, circle: progress.circle });
    const laying = typeof progress === "object" ? progress.laying : this.#lay(list);
    // Without one before, there is nobody else to ask.
    const step = this.#current === undefined ? { done: true as const, value: whole(laying) } : laying.next();
    if (!step.done) {
      this.#progress.set(list, { laying });
      return undefined;
    }
    this.#progress.set(list, { circle: step.value });
    return this.#follow({ list, circle: step.value });
  }

  forget(list: readonly Candidate[]): void {
    const progress = this.#progress.get(list);
    this.#progress.delete(list);
    if (this.#current?.list === list) this.#isCurrentGone = true;
    else if (typeof progress === "object") {
      if ("circle" in progress) progress.circle.release?.();
      else progress.laying.return(undefined as never);
    }
  }

  #follow(laid: Laid): Laid {
    if (this.#isCurrentGone) this.#current!.circle.release?.();
    this.#isCurrentGone = false;
    this.#current = laid;
    return laid;
  }
}

/**
 * From place to place, as it would be if those that do not fit held none. Whoever holds none, of more candidates than
 * there are places, is asked last.
 */
function nextThatFits<C extends Candidate>(
  circle: Circle,
  from: number,
  candidates: readonly C[],
  fits: Fits,
): C | undefined {
  for (let steps = 1; steps < circle.size; steps++) {
    const candidate = candidates[circle.holderOf((from + steps) % circle.size)]!;
    if (fits(candidate)) return candidate;
  }
  return candidates.find(fits);
}

/**
 * By a circle that was laid for another list. One of the list is drawn by the hash; if the circle does not know it, it
 * is the choice: that is the share of a new candidate among equals, and no key moves between those that stayed.
 * Without this, an endpoint whose breaker is half open would get no probe while its list is a new one at each request.
 */
function chooseByTheOneBefore<C extends Candidate>(
  { list, circle }: Laid,
  candidates: readonly C[],
  hash: number,
  fits?: Fits,
): C {
  const known: readonly Candidate[] = candidates;
  const drawn = candidates[mix32(NEWCOMER_SEED, hash) % candidates.length]!;
  if (!list.includes(drawn) && (fits === undefined || fits(drawn))) return drawn;
  const place = circle.placeOf(hash);
  for (let steps = 0; steps < MOST_STEPS; steps++) {
    const holder = list[circle.holderOf((place + steps) % circle.size)]!;
    if (fits !== undefined && !fits(holder)) continue;
    const index = known.indexOf(holder);
    if (index >= 0) return candidates[index]!;
  }
  if (fits === undefined || fits(drawn)) return drawn;
  return candidates.find(fits) ?? drawn;
}
