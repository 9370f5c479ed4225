/**
 * Contradictions in what a route answers for itself, and in the faults that are injected into it.
 */
import type { IsSet } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { faultProblems } from "./shape-fault.ts";

const FRAMING: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "connection"]);

export function fallbackFaults(config: Config, isSet: IsSet): Complaint[] {
  const faults: Complaint[] = [];
  for (const [i, { policy }] of config.routes.entries()) {
    const fallback = policy?.fallback;
    if (fallback === undefined) continue;
    const path = ["routes", i, "fallback"];
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
    if (lastGood.maxBodyBytes > lastGood.maxBytes && isSet([...path, "lastGood", "maxBody"]))
      faults.push({
        path: [...path, "lastGood", "maxBody"],
        message: "expected at most maxSize, got more",
      });
  }
  return faults;
}

export function injectedFaults(config: Config): Complaint[] {
  return config.routes.flatMap(({ faults }, i) =>
    (faults ?? []).flatMap((of, j) =>
      faultProblems(of).map(({ setting, message }) => ({
        path: ["routes", i, "faults", j, setting],
        message,
      })),
    ),
  );
}
