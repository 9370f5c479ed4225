/**
 * What the admin pages show, as plain values.
 */
import type { Config } from "../../config/index.ts";
import { type Metrics, type ProcessLog, RequestTally } from "../../telemetry/index.ts";
import { mergedEndpoints, type PlaneReport } from "../report.ts";
import { describeStack, endpoint, type StackParts } from "../stack.ts";
import { systemClock, systemRandom } from "../system.ts";
import { Upstream } from "../upstream/index.ts";

/** What the admin port shows and drives; the sidecar is one. */
export interface AdminSubject {
  readonly phase: string;
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  reports(): Promise<readonly PlaneReport[]>;
  setLogLevel(level: ProcessLog["level"]): void;
  drain(): Promise<void>;
}

/** The configuration without what must not be seen. */
export function redactedConfig(config: Config): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) =>
      /token|secret|password|authorization|cookie|api-?key/i.test(key) && value !== undefined
        ? "[redacted]"
        : value,
    ),
  );
}

/** Described on an upstream made for the purpose, so that it can be shown before discovery has found any endpoint. */
export function stackView({ config, log }: AdminSubject): Record<string, readonly string[]> {
  const parts: StackParts = {
    clock: systemClock,
    random: systemRandom,
    log: log.log,
    tally: new RequestTally(),
    writeAccess: config.telemetry.accessLog ? log.writeAccess : undefined,
  };
  const sample = new Upstream("sample", config.inbound.app, parts, (of, to) => endpoint(parts, of, to));
  sample.update([{ address: "sample", port: 1, weight: 1, source: "sample" }]);
  const described = describeStack(parts, sample);
  sample.stop();
  return described;
}

/** By upstream; what all data planes have learned about each endpoint, put together. Times in milliseconds. */
export async function endpointsView(sidecar: AdminSubject): Promise<Record<string, unknown>> {
  return mergedEndpoints(await sidecar.reports());
}

/** Oldest first. */
export async function requestsView(sidecar: AdminSubject): Promise<unknown[]> {
  const reports = await sidecar.reports();
  return reports.flatMap(({ requests }) => requests).sort((a, b) => b.ageMs - a.ageMs);
}
