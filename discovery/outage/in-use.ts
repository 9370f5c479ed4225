/**
 * What is told of a guard's instances: those in use as endpoints, and those that are known and not well. Decisions without
 * I/O and without time.
 *
 * The unwell are told beside those in use and not among them: whether they are of any account is seen only where all sources
 * have come together (supply.ts), and nothing that the guard decides goes by them.
 */
import { type Endpoint, endpointKey, identityText } from "../../core/index.ts";
import type { Instance } from "../source.ts";

/** Instances by their keys. */
export type ByKey = ReadonlyMap<string, Instance>;

/** In whichever order: some registries turn theirs with every answer. */
export function isSame(a: ByKey, b: ByKey): boolean {
  if (a.size !== b.size) return false;
  for (const [key, one] of a) {
    const other = b.get(key);
    if (other === undefined || isLastResort(one) !== isLastResort(other)) return false;
    if (one.weight !== other.weight || one.zone !== other.zone || one.priority !== other.priority)
      return false;
    if (who(one) !== who(other)) return false;
  }
  return true;
}

/** The keys of those that are a last resort: who is critical and used all the same. */
export function lastResortIn(inUse: ByKey): ReadonlySet<string> {
  return new Set([...inUse].filter(([, instance]) => isLastResort(instance)).map(([key]) => key));
}

/** Of what a source lists those that are not in use because they are not well; maintenance is no illness. */
export function unwellIn(listed: readonly Instance[], inUse: ByKey): ByKey {
  const unwell = new Map<string, Instance>();
  for (const instance of listed) {
    if (instance.health !== "critical" && instance.health !== "unreachable") continue;
    const key = endpointKey(instance);
    if (!inUse.has(key)) unwell.set(key, instance);
  }
  return unwell;
}

/** Without what only discovery is to know. */
export function asEndpoints(instances: ByKey): Endpoint[] {
  return [...instances.values()].map(({ health: _, note: __, ...endpoint }) => endpoint);
}

function isLastResort({ health }: Instance): boolean {
  return health === "critical";
}

function who({ identity }: Instance): string {
  return identity === undefined ? "" : identityText(identity);
}
