/**
 * What follows from a source's list: which instances are used, and which would leave in such a way that they are asked
 * first. A decision without I/O and without time.
 */
import { endpointKey } from "../../core/index.ts";
import type { Instance } from "../source.ts";

export interface Evidence {
  /** The source's word. */
  readonly listed: readonly Instance[];
  /** What has been in use until now. */
  readonly serving: readonly Instance[];
  /** Keys of listed ones that have been in use at some time: of an instance that has never been well nothing is expected. */
  readonly known: ReadonlySet<string>;
  /** The most that were in use a moment ago, or when the present doubt began. */
  readonly before: number;
  /** Keys of those that have been in doubt since the present doubt began. */
  readonly doubted: ReadonlySet<string>;
  readonly suspiciousShare: number;
}

export interface Judgement {
  readonly usable: readonly Instance[];
  /** Nothing has been said of themselves, and they are too many to be dropped before they have been asked. */
  readonly leaving: readonly Instance[];
  /** Unwell by their own checks; but nobody is left who is well. */
  readonly lastResort: readonly Instance[];
  /** How many leave at a word about themselves. */
  readonly dismissed: number;
}

/** Shares such as 0.57 are not exact, and a count is not to be off by one for that. */
const ROUNDING = 1e-9;

/** By the source's word alone. */
export function mayServe({ health }: Instance): boolean {
  return health === "passing" || health === "warning";
}

export function judge(evidence: Evidence): Judgement {
  const { listed, serving, known, before, doubted, suspiciousShare } = evidence;
  const said = byKey(listed);
  const usable = [...said.values()].filter(mayServe);
  const nobody = usable.length === 0;
  const missing: Instance[] = [];
  const critical: Instance[] = [];
  let maintained = 0;
  const judged = new Set<string>();
  for (const instance of serving) {
    const key = endpointKey(instance);
    judged.add(key);
    const now = said.get(key);
    // Absent, or hidden behind an agent that is away: nothing has been said of the instance itself.
    if (now === undefined || now.health === "unreachable") missing.push(now ?? instance);
    else if (now.health === "critical") critical.push(now);
    // Maintenance is somebody's wish, and so is a place outside.
    else if (now.health === "maintenance" || now.health === "outside") maintained++;
  }
  // Its own check says that it is not well. That is believed, unless nobody would be left to lose by asking.
  const dismissed = maintained + (nobody ? 0 : critical.length);
  // Measured against what there was: a list that is replaced by another of the same length is a roll-out, while those
  // that return from doubt leave the others as missing as they were.
  const measure = before - maintained - critical.length;
  const there = usable.filter((instance) => !doubted.has(endpointKey(instance))).length;
  const sudden = measure - there - suspiciousShare * measure > ROUNDING;
  const leaving = sudden ? missing : [];
  // Those that went one by one before the last one did are no worse than that one.
  if (nobody)
    for (const [key, instance] of said) {
      if (judged.has(key) || !known.has(key)) continue;
      if (instance.health === "critical") critical.push(instance);
      else if (instance.health === "unreachable" && suspiciousShare < 1) leaving.push(instance);
    }
  return { usable, leaving, lastResort: nobody ? critical : [], dismissed };
}

/** Each address once. Of two registrations the better one counts, as when an instance came back under another id. */
function byKey(listed: readonly Instance[]): Map<string, Instance> {
  const said = new Map<string, Instance>();
  for (const instance of listed) {
    const key = endpointKey(instance);
    const other = said.get(key);
    if (other === undefined || (!mayServe(other) && mayServe(instance))) said.set(key, instance);
  }
  return said;
}
