/**
 * Contradictions in what a route, an upstream or the way in answers for itself, and in the faults that are injected into it.
 */
import type { NamePolicy } from "../core/index.ts";
import type { IsSet, Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { type FaultConfig, faultProblems } from "./shape-fault.ts";
import { sizeText } from "./units.ts";

/** With less, `lastGood` would keep a handful of answers, or none, and nobody would be told before the outage. */
export const LEAST_KEPT_BYTES = 64 * 1024;

const FRAMING: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "connection"]);

export function fallbackFaults(config: Config, isSet: IsSet): Complaint[] {
  const faults: Complaint[] = [];
  for (const { at, policy } of whoeverAsks(config)) {
    const fallback = policy?.fallback;
    if (fallback === undefined) continue;
    const path = [...at, "fallback"];
    const { answer, lastGood, methods } = fallback;
    if (answer === undefined && lastGood === undefined)
      faults.push({ path, message: "expected a status, or lastGood, or both; got neither" });
    for (const setting of ["headers", "body"])
      if (answer === undefined && isSet([...path, setting]))
        faults.push({ path: [...path, setting], message: "expected a status with it, got none" });
    for (const [at, name] of (answer?.headers ?? []).entries())
      if (at % 2 === 0 && FRAMING.has(name.toLowerCase()))
        faults.push({
          path: [...path, "headers", name],
          message: `expected a field that is not heddle's to write, got ${name}`,
        });
    if (lastGood === undefined) continue;
    if (!methods.includes("GET") && !methods.includes("HEAD"))
      faults.push({
        path: [...path, "lastGood"],
        message: "expected GET or HEAD among the methods, as of others nothing is kept; got neither",
      });
    const least = LEAST_KEPT_BYTES * config.workers;
    const ofWorkers = config.workers === 1 ? "" : `, ${sizeText(LEAST_KEPT_BYTES)} for each worker`;
    if (lastGood.maxBytes < least)
      faults.push({
        path: [...path, "lastGood", "maxSize"],
        message: `expected at least ${sizeText(least)}${ofWorkers}, as an answer takes a few KiB beside its body; got less`,
      });
    else if (
      lastGood.maxBodyBytes > lastGood.maxBytes / config.workers &&
      isSet([...path, "lastGood", "maxBody"])
    )
      faults.push({
        path: [...path, "lastGood", "maxBody"],
        message: `expected at most ${config.workers === 1 ? "maxSize" : "one worker's part of maxSize"}, got more`,
      });
  }
  return faults;
}

export function injectedFaults(config: Config): Complaint[] {
  return whoeverAsks(config).flatMap(({ at, faults }) =>
    (faults ?? []).flatMap((of, j) =>
      faultProblems(of).map(({ setting, message }) => ({ path: [...at, "faults", j, setting], message })),
    ),
  );
}

interface Asking {
  readonly at: Path;
  readonly policy: NamePolicy | undefined;
  readonly faults: readonly FaultConfig[] | undefined;
}

/** Routes, upstreams and the way in, with the place of each in the file. */
function whoeverAsks({ routes, upstreams, inbound }: Config): Asking[] {
  return [
    ...routes.map(({ policy, faults }, i) => ({ at: ["routes", i], policy, faults })),
    ...Object.entries(upstreams).map(([name, { policy, faults }]) => ({
      at: ["upstreams", name],
      policy,
      faults,
    })),
    { at: ["inbound"], policy: inbound.policy, faults: inbound.faults },
  ];
}
