/**
 * What callers ask for: the kinds of requests, how often each comes, and what their callers do to them.
 *
 * Drawn from a seed, so that a run can be repeated as far as the machine lets it. The path tells the app what to do.
 */
import type { Random } from "../../core/index.ts";

/** One request, and how its caller behaves. */
export interface Ask {
  readonly kind: string;
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
  /** The caller goes away so long after it has begun; Infinity where it waits. */
  readonly goesAfterMs: number;
  /** The caller goes away when so many bytes of the answer's body have come. */
  readonly goesAfterBytes: number;
  /** Speaks another protocol after the upgrade, and ends it. */
  readonly upgrade: boolean;
}

export interface Dice {
  /** A whole number between the two, both included. */
  between(least: number, most: number): number;
  one<Item>(items: readonly Item[]): Item;
}

export function diceOf(random: Random): Dice {
  const between = (least: number, most: number) => least + Math.floor(random.next() * (most - least + 1));
  return { between, one: (items) => items[between(0, items.length - 1)]! };
}

type Draft = Partial<Omit<Ask, "kind">> & { readonly path: string };

interface Kind {
  /** Of a thousand requests. */
  readonly share: number;
  /** Answered as soon as it is read, by an app that is well. */
  readonly quick?: true;
  readonly draw: (dice: Dice, n: number) => Draft;
}

const KIB = 1024;
const small = (dice: Dice) => `/bytes/${dice.between(0, 2 * KIB)}`;
const key = (n: number) => ({ "idempotency-key": `key-${n}` });

const KINDS: Readonly<Record<string, Kind>> = {
  get: { share: 500, quick: true, draw: (dice) => ({ path: small(dice) }) },
  head: { share: 20, quick: true, draw: (dice) => ({ method: "HEAD", path: small(dice) }) },
  delete: { share: 20, quick: true, draw: (dice) => ({ method: "DELETE", path: small(dice) }) },
  put: {
    share: 50,
    quick: true,
    draw: (dice) => ({ method: "PUT", path: "/take", bodyBytes: dice.between(1, 4 * KIB) }),
  },
  post: {
    share: 100,
    quick: true,
    draw: (dice) => ({ method: "POST", path: "/take", bodyBytes: dice.between(0, 4 * KIB) }),
  },
  "post with a key": {
    share: 80,
    quick: true,
    draw: (dice, n) => ({
      method: "POST",
      path: "/take",
      headers: key(n),
      bodyBytes: dice.between(0, 4 * KIB),
    }),
  },
  "bad status": {
    share: 20,
    quick: true,
    draw: (dice) => ({ path: `/status/${dice.one([400, 404, 429, 500, 502, 503])}` }),
  },
  "no such name": { share: 5, quick: true, draw: () => ({ host: "nobody", path: "/" }) },
  "rate limited": { share: 20, quick: true, draw: (dice) => ({ host: "limited", path: small(dice) }) },
  large: { share: 30, quick: true, draw: (dice) => ({ path: `/bytes/${dice.between(64, 512) * KIB}` }) },
  upload: {
    share: 30,
    quick: true,
    draw: (dice) => ({ method: "PUT", path: "/take", bodyBytes: dice.between(64, 512) * KIB }),
  },
  slow: { share: 50, draw: (dice) => ({ path: `/wait/${dice.between(10, 200)}` }) },
  hurried: {
    share: 20,
    draw: (dice) => ({
      path: `/wait/${dice.between(0, 60)}`,
      headers: { "x-heddle-timeout-ms": String(dice.between(1, 60)) },
    }),
  },
  "given up early": {
    share: 20,
    draw: (dice) => ({ path: `/wait/${dice.between(20, 200)}`, goesAfterMs: dice.between(0, 150) }),
  },
  "given up in the answer": {
    share: 10,
    draw: (dice) => ({ path: `/bytes/${512 * KIB}`, goesAfterBytes: dice.between(1, 400 * KIB) }),
  },
  "given up in the upload": {
    share: 10,
    draw: (dice) => ({
      method: "POST",
      path: "/take",
      bodyBytes: 2048 * KIB,
      goesAfterMs: dice.between(0, 5),
    }),
  },
  stream: {
    share: 8,
    draw: (dice) => ({ path: `/stream/${dice.between(5, 40)}/${dice.between(20, 100)}` }),
  },
  "stream given up": {
    share: 3,
    draw: (dice) => ({ path: "/stream/40/50", goesAfterMs: dice.between(100, 1500) }),
  },
  "web socket": { share: 4, draw: () => ({ host: "shop", path: "/socket", upgrade: true }) },
};

/** By chance in proportion: the first is as usual, the second hedges, the third has little room. */
const HOSTS = ["shop", "shop", "shop", "books", "books", "tight"];

/** What makes requests of kinds that come as often as they should, numbered as they are drawn. */
export class Asks {
  readonly #dice: Dice;
  readonly #all: readonly string[];
  readonly #quick: readonly string[];
  #drawn = 0;

  constructor(random: Random) {
    this.#dice = diceOf(random);
    const deck = (those: (kind: Kind) => boolean) =>
      Object.entries(KINDS).flatMap(([name, kind]) => (those(kind) ? Array(kind.share).fill(name) : []));
    this.#all = deck(() => true);
    this.#quick = deck(({ quick }) => quick === true);
  }

  /** @param quick only of the kinds that an app answers at once */
  next(quick = false): Ask {
    const dice = this.#dice;
    const kind = dice.one(quick ? this.#quick : this.#all);
    return {
      kind,
      host: dice.one(HOSTS),
      method: "GET",
      headers: {},
      bodyBytes: 0,
      goesAfterMs: Number.POSITIVE_INFINITY,
      goesAfterBytes: Number.POSITIVE_INFINITY,
      upgrade: false,
      ...KINDS[kind]!.draw(dice, this.#drawn++),
    };
  }
}
