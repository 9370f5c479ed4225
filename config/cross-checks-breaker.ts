/**
 * Faults in what is said of breakers: settings that exclude each other, and routes that could not be told apart.
 */
import type { IsSet, Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { durationText } from "./units.ts";

/** @param isSet whether the file itself has a value at a path */
export function breakerFaults(config: Config, isSet: IsSet): Complaint[] {
  const all: { path: Path; breaker: Config["inbound"]["app"]["breaker"] }[] = [
    { path: ["inbound", "breaker"], breaker: config.inbound.app.breaker },
    ...Object.entries(config.upstreams).map(([name, { options }]) => ({
      path: ["upstreams", name, "breaker"],
      breaker: options.breaker,
    })),
    ...config.routes.flatMap(({ breaker }, i) =>
      breaker === undefined ? [] : [{ path: ["routes", i, "breaker"], breaker }],
    ),
  ];
  const faults: Complaint[] = nameFaults(config);
  for (const { path, breaker } of all) {
    const { openForMs, openForMaxMs } = breaker;
    if (isSet([...path, "enabled"]) && isSet([...path, "mode"]))
      faults.push({ path: [...path, "enabled"], message: "expected enabled or mode, got both" });
    if (openForMs > openForMaxMs)
      faults.push({
        path: [...path, "openForMax"],
        message: `expected at least openFor, which is ${durationText(openForMs)}, got ${durationText(openForMaxMs)}`,
      });
  }
  return faults;
}

/** A breaker is known by the name of its route, to whoever looks at it and to whoever forces it. */
function nameFaults({ routes }: Config): Complaint[] {
  return routes.flatMap(({ name, breaker }, i) => {
    if (breaker === undefined) return [];
    const other = routes.findIndex((of, j) => j !== i && of.name === name);
    if (other === -1) return [];
    const message = `expected a name of its own, as its breaker is known by it, got that of routes[${other}]`;
    return [{ path: ["routes", i, "name"], message }];
  });
}
