/**
 * The part of the shape about the health port: what the kubelet and its like may ask without reaching the admin port.
 */
import * as v from "valibot";
import { section } from "./mapping.ts";
import { address, duration, host, wholeNumber } from "./units.ts";

const PATH = "a path such as /app-health/web/readiness";
const path = (expected: string) => v.pipe(v.string(expected), v.regex(/^\/[\x21-\x7e]*$/, expected));

const probe = v.pipe(
  section({
    path: path(PATH),
    port: wholeNumber(1, 65_535),
    type: v.optional(v.picklist(["http", "tcp", "grpc"], "one of http, tcp, grpc"), "http"),
    target: v.optional(path("a path such as /health"), "/"),
    host: v.optional(host()),
    service: v.optional(v.string("the name of a gRPC service"), ""),
    timeout: v.optional(duration(10), "1s"),
  }),
  v.transform((given) => ({
    path: given.path,
    port: given.port,
    probe: probeOf(given),
    timeoutMs: given.timeout,
  })),
);

interface Given {
  readonly type: "http" | "tcp" | "grpc";
  readonly target: string;
  readonly host?: string | undefined;
  readonly service: string;
}

function probeOf({ type, target, host: name, service }: Given) {
  if (type === "tcp") return { type };
  if (type === "grpc") return { type, service };
  // What counts as well for the kubelet.
  return { type, path: target, host: name, statuses: [200, 399] as const };
}

export const health = v.optional(
  section({
    listen: v.optional(address(0), "0.0.0.0:15021"),
    probes: v.optional(v.array(probe, "a list of probes")),
  }),
);
