/**
 * Central configuration as Consul has it in config entries: what `service-defaults` of a service and `proxy-defaults` say
 * about its calls. Agents before 1.9 do not merge it into the definition of a sidecar, and none says where a value comes
 * from, so it is read by itself.
 */
import { field, list, text } from "../json-values.ts";
import { readTuning, type UpstreamTuning } from "./sidecar-definition.ts";
import type { ConsulQuery } from "./watch.ts";

export interface ServiceDefaults {
  readonly defaults: UpstreamTuning | undefined;
  /** By the name of the upstream. */
  readonly overrides: Readonly<Record<string, UpstreamTuning>>;
}

const NONE: ServiceDefaults = { defaults: undefined, overrides: {} };

export function serviceDefaultsQuery(service: string): ConsulQuery<ServiceDefaults> {
  return {
    name: `consul:service-defaults:${service}`,
    path: "/config/service-defaults/{service}",
    params: { service },
    blocks: "index",
    absent: NONE,
    read: (body) => (isEntry(body) ? readServiceDefaults(body) : undefined),
  };
}

export function proxyDefaultsQuery(): ConsulQuery<UpstreamTuning | "none"> {
  return {
    name: "consul:proxy-defaults",
    path: "/config/proxy-defaults/global",
    blocks: "index",
    absent: "none",
    read: (body) => (isEntry(body) ? readTuning(field(body, "Config")) : undefined),
  };
}

function isEntry(body: unknown): boolean {
  return text(field(body, "Kind")) !== undefined;
}

function readServiceDefaults(body: unknown): ServiceDefaults {
  const upstreams = field(body, "UpstreamConfig");
  const defaults = field(upstreams, "Defaults");
  return {
    defaults: defaults === undefined || defaults === null ? undefined : readTuning(defaults),
    overrides: Object.fromEntries(
      list(field(upstreams, "Overrides")).flatMap((override) => {
        const name = text(field(override, "Name"));
        return name === undefined ? [] : [[name, readTuning(override)]];
      }),
    ),
  };
}
