/**
 * What may be asked of all requests to an upstream, or of all that come in, as a route asks it of its own: the same settings, so that
 * nobody has to learn them twice.
 */
import * as v from "valibot";
import type { NamePolicy } from "../core/index.ts";
import { defined } from "./mapping.ts";
import { fallback } from "./shape-fallback.ts";
import { fault } from "./shape-fault.ts";
import { rateLimits } from "./shape-rate-limit.ts";

export const policyEntries = {
  rateLimits,
  fallback: v.optional(fallback),
  faults: v.optional(v.array(fault, "a list of faults")),
};

/** The policy, or nothing where nothing is asked. */
export function policyOf(given: NamePolicy): { readonly policy?: NamePolicy } {
  const policy: NamePolicy = defined(given);
  return Object.keys(policy).length === 0 ? {} : { policy };
}
