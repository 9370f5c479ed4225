/**
 * When results become a judgement: so many failures in a row to leave, so many successes in a row to come back.
 *
 * In a row and not a share of a window: with a handful of results a minute a share would either react to one lost packet
 * or take minutes. An endpoint that nobody has judged yet comes in with its first success, since it was in use
 * meanwhile and a new replica should not wait for `rise`; but one failure condemns it no sooner than any other, since it
 * may be what the first moment of its life looks like.
 */
export type Health = "unknown" | "passing" | "failing";

export interface Judgement {
  readonly health: Health;
  /** Results in a row that speak against `health`; 0 when the last one agreed with it. */
  readonly against: number;
}

export interface RiseFall {
  /** Successes in a row that bring a failing endpoint back; at least 1. */
  readonly rise: number;
  /** Failures in a row that make an endpoint failing; at least 1. */
  readonly fall: number;
}

export const UNJUDGED: Judgement = { health: "unknown", against: 0 };

/** The judgement after one more result. */
export function judge({ health, against }: Judgement, passing: boolean, { rise, fall }: RiseFall): Judgement {
  switch (health) {
    case "unknown":
    case "passing":
      if (passing) return { health: "passing", against: 0 };
      return against + 1 >= fall ? { health: "failing", against: 0 } : { health, against: against + 1 };
    case "failing":
      if (!passing) return { health, against: 0 };
      return against + 1 >= rise ? { health: "passing", against: 0 } : { health, against: against + 1 };
  }
}
