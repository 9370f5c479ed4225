/**
 * What may be said of a fault for testing, in the file and at the admin port alike.
 *
 * Which settings belong to which kind is checked apart from the shape: a union of four would tell a person of three that were
 * not meant.
 */
import * as v from "valibot";
import { FAULT_KINDS, type FaultEffect, type FaultMatch } from "../resilience/index.ts";
import { section } from "./mapping.ts";
import { duration, durationRange, percent, size, text, wholeNumber } from "./units.ts";

/** How long a fault lasts of which nothing is said: long enough for a test, and over when it has been forgotten. */
const USUAL_MS = 600_000;
/** No fault lasts longer, whatever is said. */
export const LONGEST_FAULT_MS = 86_400_000;

const KIND = `one of ${FAULT_KINDS.join(", ")}`;
const DIRECTION = "inbound or outbound";
const FIELD = "the name of a header field";
const MOMENT = "a moment with its zone, such as 2030-01-31T18:00:00Z";

const entries = {
  kind: v.picklist(FAULT_KINDS, KIND),
  delay: v.optional(durationRange()),
  status: v.optional(wholeNumber(400, 599)),
  perSecond: v.optional(size(1024 ** 3, 1)),
  share: v.optional(percent(0.01, 100), "100%"),
  match: v.optional(
    section({
      header: v.pipe(
        v.string(FIELD),
        v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, FIELD),
        v.transform((name) => name.toLowerCase()),
      ),
      value: v.optional(v.string("the value of that field")),
    }),
  ),
  for: v.optional(duration(1000, LONGEST_FAULT_MS)),
  until: v.optional(
    v.pipe(
      v.string(MOMENT),
      v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)$/, MOMENT),
      v.check((moment) => !Number.isNaN(Date.parse(moment)), MOMENT),
      v.transform(Date.parse),
    ),
  ),
};

export const fault = section(entries);
export type FaultConfig = v.InferOutput<typeof fault>;

/** At the admin port it says whom it hits, too. */
export const addedFault = section({
  ...entries,
  direction: v.optional(v.picklist(["inbound", "outbound"], DIRECTION)),
  route: v.optional(text("the name of a route")),
  upstream: v.optional(text("the name of an upstream")),
});

const BELONGS = { delay: "delay", status: "abort", perSecond: "slow" } as const;

/** What contradicts itself in a fault: the setting, and what is told of it. */
export function faultProblems(of: FaultConfig): { readonly setting: string; readonly message: string }[] {
  const problems: { setting: string; message: string }[] = [];
  for (const [setting, kind] of Object.entries(BELONGS)) {
    const isThere = of[setting as keyof typeof BELONGS] !== undefined;
    if (isThere && of.kind !== kind)
      problems.push({ setting, message: `expected none with kind ${of.kind}, got one` });
    // A status has a usual value.
    if (!isThere && of.kind === kind && setting !== "status")
      problems.push({ setting: "kind", message: `expected ${setting} with kind ${kind}, got none` });
  }
  if (of.for !== undefined && of.until !== undefined)
    problems.push({ setting: "until", message: "expected for or until, got both" });
  return problems;
}

export function faultEffect({ kind, delay, status, perSecond }: FaultConfig): FaultEffect {
  switch (kind) {
    case "delay":
      return { kind, delayMs: delay! };
    case "abort":
      return { kind, status: status ?? 503 };
    case "reset":
      return { kind };
    case "slow":
      return { kind, bytesPerSecond: perSecond! };
  }
}

export function faultMatch({ match }: FaultConfig): FaultMatch {
  return match === undefined ? {} : { header: match.header, value: match.value };
}

/** How long it lasts from now on, in milliseconds; 0 or less when it is over. @param wallMs since 1970 */
export function faultLastsMs(of: FaultConfig, wallMs: number): number {
  const lastsMs = of.until === undefined ? (of.for ?? USUAL_MS) : of.until - wallMs;
  return Math.min(lastsMs, LONGEST_FAULT_MS);
}
