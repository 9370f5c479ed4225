/**
 * What the admin pages show, as plain values.
 */
import type { Config } from "../../config/index.ts";
import type { SupplyView } from "../../discovery/index.ts";
import { Faults } from "../../resilience/index.ts";
import type { Metrics, ProcessLog } from "../../telemetry/index.ts";
import { mayInject } from "../fault-book.ts";
import { OverloadMonitor } from "../overload.ts";
import { own } from "../own.ts";
import { type EndpointView, mergedEndpoints, type PlaneReport } from "../report.ts";
import type { BreakerCommand } from "../route-breakers.ts";
import { describeStack, endpoint } from "../stack.ts";
import { createStackParts } from "../stack-parts.ts";
import { systemClock, systemRandom } from "../system.ts";
import { Upstream } from "../upstream/index.ts";
import { wayInOf } from "../way-in.ts";
import type { FaultSubject } from "./faults-page.ts";

/** What the admin port shows and drives; the sidecar is one. */
export interface AdminSubject {
  readonly phase: string;
  leave(): Promise<void>;
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  reports(): Promise<readonly PlaneReport[]>;
  supplies(): Readonly<Record<string, SupplyView>>;
  forceBreaker(command: BreakerCommand): void;
  setLogLevel(level: ProcessLog["level"]): void;
  setRetries(enabled: boolean): void;
  drain(): Promise<void>;
  readonly faults: FaultSubject["faults"];
  readonly names: FaultSubject["names"];
}

/** The configuration without what must not be seen. */
export function redactedConfig(config: Config): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) =>
      /token|secret|password|auth|cookie|api-?key/i.test(key) && value !== undefined ? "[redacted]" : value,
    ),
  );
}

/** Described on upstreams made for the purpose, so that it can be shown before discovery has found any endpoint. */
export function stackView({ config, log }: AdminSubject): Record<string, readonly string[]> {
  const parts = createStackParts({
    clock: systemClock,
    random: systemRandom,
    log: log.log,
    overload: config.overload.enabled ? new OverloadMonitor(config.overload, systemClock) : undefined,
    writeAccess: config.telemetry.accessLog ? log.writeAccess : undefined,
    faults: mayInject(config) ? new Faults() : undefined,
    wayIn: wayInOf(config),
  });
  const kinds = [config.inbound.app, ...Object.values(config.upstreams).map(({ options }) => options)];
  const samples = kinds.map((options) => {
    const sample = new Upstream("sample", options, parts, (of, to) => endpoint(parts, of, to));
    sample.update([{ address: "sample", port: 1, weight: 1, source: "sample" }]);
    return sample;
  });
  const described = describeStack(parts, samples);
  for (const sample of samples) sample.stop();
  return described;
}

/** What an endpoint is to discovery, beside what the data planes have learned about it. */
type SeenEndpoint = Partial<EndpointView> & {
  readonly address: string;
  /** What the source says of it. */
  readonly health: string;
  /** Whether it may get requests. */
  readonly used: boolean;
  readonly why?: string;
  /** What the active checks have found. */
  readonly check?: string;
};

/**
 * By upstream: how its sources are, and each endpoint with what is known of it, those that are not used as well. Times in
 * milliseconds.
 */
export async function endpointsView(sidecar: AdminSubject): Promise<Record<string, unknown>> {
  const learned = mergedEndpoints(await sidecar.reports());
  return Object.fromEntries(
    Object.entries(sidecar.supplies()).map(([key, { merge, sources, checks }]) => {
      const views = new Map((own(learned, key) ?? []).map((view) => [view.address, view]));
      const seen = new Map<string, SeenEndpoint>();
      for (const { instances, source } of sources)
        for (const { address, health, used, why } of instances) {
          const view = views.get(address);
          const check = checks[address];
          if (seen.get(address)?.used === true) continue;
          seen.set(address, {
            address,
            health,
            // The data planes have the last word: checks and the order of the sources have been heard.
            used: used && view !== undefined && view.unwell !== true,
            ...(why === undefined ? {} : { why }),
            ...(check === undefined
              ? {}
              : { check: `${check.health}${check.note === "" ? "" : `: ${check.note}`}` }),
            ...(view ?? { source }),
          });
        }
      const states = sources.map(({ instances: _, ...state }) => state);
      return [
        key,
        { ...(merge === undefined ? {} : { merge }), sources: states, endpoints: [...seen.values()] },
      ];
    }),
  );
}

/** Oldest first. */
export async function requestsView(sidecar: AdminSubject): Promise<unknown[]> {
  const reports = await sidecar.reports();
  return reports.flatMap(({ requests }) => requests).sort((a, b) => b.ageMs - a.ageMs);
}
