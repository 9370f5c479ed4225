/**
 * What the admin pages show, as plain values.
 */
import type { Config } from "../../config/index.ts";
import type { Metrics, ProcessLog } from "../../telemetry/index.ts";
import type { Listener } from "../downstream/index.ts";
import { describeStack, endpoint, type StackParts } from "../stack.ts";
import { Upstream } from "../upstream/index.ts";

/** What the admin port shows and drives; the sidecar is one. */
export interface AdminSubject {
  readonly phase: string;
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  readonly stackParts: StackParts;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly listeners: readonly Listener[];
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
export function stackView({ stackParts, config }: AdminSubject): Record<string, readonly string[]> {
  const parts = stackParts;
  const sample = new Upstream("sample", config.inbound.app, parts, (of, to) => endpoint(parts, of, to));
  sample.update([{ address: "sample", port: 1, weight: 1, source: "sample" }]);
  const described = describeStack(parts, sample);
  sample.stop();
  return described;
}

/** By upstream. Times in milliseconds. */
export function endpointsView(sidecar: AdminSubject): Record<string, unknown> {
  const nowMs = sidecar.stackParts.clock.now();
  const view: Record<string, unknown> = {};
  for (const [key, upstream] of sidecar.upstreams) {
    view[key] = upstream.endpoints.map(({ key: address, endpoint, breaker, inFlight, latency }) => ({
      address,
      source: endpoint.source,
      weight: endpoint.weight,
      zone: endpoint.zone,
      breaker: breaker.state,
      ...(breaker.state === "open"
        ? { opensForMs: Math.max(0, Math.round(breaker.openUntilMs - nowMs)) }
        : {}),
      inFlight,
      latencyMs: Math.round(latency.estimateMs(nowMs, inFlight === 0) * 1000) / 1000,
    }));
  }
  return view;
}

/** Oldest first. */
export function requestsView(sidecar: AdminSubject): unknown[] {
  const nowMs = sidecar.stackParts.clock.now();
  return sidecar.listeners
    .flatMap((listener) => [...listener.exchanges])
    .sort((a, b) => a.arrivedAtMs - b.arrivedAtMs)
    .map((exchange) => ({
      requestId: exchange.requestId,
      direction: exchange.direction,
      request: `${exchange.method} ${exchange.authority}${exchange.target.split("?", 1)[0]}`,
      state: exchange.state,
      ...(exchange.state === "suspended"
        ? { on: exchange.suspendedOn, forMs: Math.round(nowMs - exchange.suspendedAtMs) }
        : {}),
      ageMs: Math.round(nowMs - exchange.arrivedAtMs),
      upstream: exchange.upstream,
      endpoint: exchange.endpoint,
      attempts: exchange.attempts,
    }));
}
