/**
 * The two that go by a hash: how even they are, what moves when one of a hundred goes, and what a bound on the load holds.
 *
 * Evenness and disruption are counted over a million hashes that are evenly spread, so chance has no part in them. Published: the
 * Maglev paper (Eisenbud and others, NSDI 2016) asks for a table of more than a hundred places for each endpoint, which keeps the
 * shares within one per cent; removing one of n moves its own 1/n at least, and by Envoy's documentation about twice as much
 * in Maglev as in a ring. The bound is that of Mirrokni, Thorup and Zadimoghaddam ("Consistent hashing with bounded
 * loads", 2016): never more than the factor times the mean, rounded up.
 */
import {
  disruptionByHash,
  type HashOptions,
  hosts,
  loadsByHash,
  sharesByHash,
} from "../../../test/support/hash-figures.ts";
import { exact } from "../measures.ts";
import { sfc32 } from "../random.ts";
import { between, type Findings, fixed, percent, type Row } from "../rows.ts";

const HOSTS = 100;
/** Which of them go, one at a time: every tenth. */
const GOING = Array.from({ length: 10 }, (_, i) => i * 10);
const FACTOR = 1.25;
const IN_FLIGHT = 200;
const BOUNDED_HOSTS = 20;
const REQUESTS = 200_000;

export function hashing(seed: number): Findings {
  return { rows: [...even(), ...moved(), ...bounded(seed)], plots: [] };
}

function even(): Row[] {
  const { least, most } = sharesByHash({ algorithm: "maglev" }, hosts(HOSTS));
  return [
    between(
      `\`maglev\`, ${HOSTS} endpoints: the greatest share over the least`,
      [1, 1.01],
      exact(most / least),
      "one per cent, at more than a hundred places for each",
      fixed(4),
    ),
  ];
}

/** Times n, the mean over those that go. */
function moved(): Row[] {
  const all = hosts(HOSTS);
  const movedBy = (options: HashOptions) => {
    const parts = GOING.map((gone) => disruptionByHash(options, all, all.toSpliced(gone, 1), 2 ** 17).moved);
    return (parts.reduce((sum, part) => sum + part, 0) / parts.length) * HOSTS;
  };
  return [
    between(
      `\`ringHash\`, one of ${HOSTS} goes: the part of the keys that moves, times ${HOSTS}`,
      [0.9, 1.1],
      exact(movedBy({ algorithm: "ringHash" })),
      "its own keys and no others",
      fixed(3),
    ),
    between(
      `\`maglev\`, one of ${HOSTS} goes: the part of the keys that moves, times ${HOSTS}`,
      [1, 2.5],
      exact(movedBy({ algorithm: "maglev" })),
      "its own, and at most about as many again",
      fixed(3),
    ),
  ];
}

function bounded(seed: number): Row[] {
  const most = Math.ceil((FACTOR * IN_FLIGHT) / BOUNDED_HOSTS) / (IN_FLIGHT / BOUNDED_HOSTS);
  return (["ringHash", "maglev"] as const).map((algorithm) => {
    const figures = loadsByHash(
      { algorithm, loadFactor: FACTOR },
      hosts(BOUNDED_HOSTS),
      IN_FLIGHT,
      REQUESTS,
      { keys: 1000, exponent: 1 },
      sfc32(seed),
    );
    return between(
      `\`${algorithm}\` with loadFactor ${FACTOR}, keys by Zipf's law: the greatest load over the mean (${percent(0)(figures.passedOn)} passed on)`,
      [Number.NEGATIVE_INFINITY, most],
      exact(figures.most),
      "the factor times the mean, rounded up",
      fixed(3),
    );
  });
}
