/**
 * The configuration of a sidecar, from what the annotations of its pod say.
 *
 * It goes into the environment and not into a ConfigMap of its own: a ConfigMap would be one more object to apply, to prune and to keep in
 * step, and pods would not be rolled when it changes. Where the configuration is in a ConfigMap already, only what the manifest
 * itself depends on is laid over it: the ports that probes and hooks ask.
 */
import { stringify } from "yaml";
import { ConfigError, parseConfig } from "../../config/index.ts";
import { cut, withFields } from "./fields.ts";
import type { PodPlan } from "./plan.ts";
import type { AppProbe } from "./probes.ts";
import type { WantedUpstream } from "./values.ts";

/** YAML for HEDDLE_CONFIG, as the sidecar is to read it. */
export function configurationText(plan: PodPlan, probes: readonly AppProbe[]): string {
  const { ports, configMap } = plan;
  const reached = {
    admin: { listen: `127.0.0.1:${ports.admin}` },
    health: withFields(
      { listen: `0.0.0.0:${ports.health}` },
      { probes: probes.length === 0 ? undefined : probes },
    ),
  };
  const mode = plan.transparent ? { mode: "transparent" } : {};
  const listening = {
    inbound: { ...mode, listen: `0.0.0.0:${ports.inbound}` },
    outbound: { ...mode, listen: `127.0.0.1:${ports.outbound}` },
  };
  const value =
    configMap !== undefined
      ? { ...(plan.transparent ? listening : {}), ...reached }
      : withFields(
          { service: serviceOf(plan), ...listening, ...reached },
          {
            discovery: plan.discovery === "consul" ? { consul: { address: plan.consulAddress } } : undefined,
            upstreams:
              plan.upstreams.length === 0
                ? undefined
                : Object.fromEntries(
                    plan.upstreams.map((upstream) => [upstream.name, upstreamOf(plan, upstream)]),
                  ),
            telemetry: plan.logLevel === undefined ? undefined : { logLevel: plan.logLevel },
            shutdown: { grace: plan.grace },
          },
        );
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

/**
 * A text as the value of an environment variable in a manifest. The kubelet fills in `$(NAME)` and makes one dollar of two, so what it would
 * change is doubled; a dollar alone, as in `${POD_IP}`, it leaves as it is.
 */
export function forKubelet(text: string): string {
  return text.replace(/\$+(?=\()|\${2,}/g, (dollars) => dollars + dollars);
}

/** Linux starts no program with a longer text in its environment, `HEDDLE_CONFIG=` and the end of the text included. */
const MOST_BYTES = 128 * 1024;

/** Undefined when it fits into the environment of a container; asked first, as reading a long one takes its time. */
export function lengthFault(text: string): string | undefined {
  const bytes = Buffer.byteLength(`HEDDLE_CONFIG=${text}\0`);
  if (bytes <= MOST_BYTES) return undefined;
  return `expected annotations and probes that make a configuration of at most ${MOST_BYTES} bytes, which is what fits into an environment variable, got ${bytes}`;
}

/** What the sidecar would say of its configuration when it starts; better said now. Undefined when it is fine. */
export function configurationFault(text: string): string | undefined {
  try {
    parseConfig(text, "HEDDLE_CONFIG", { POD_IP: "10.0.0.1", HOST_IP: "10.0.0.2" });
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    const { path, message } = thrown.faults[0]!;
    return `expected annotations that make a configuration without a fault, got one with: ${cut(path)}  ${cut(message, 200)}`;
  }
}

function serviceOf(plan: PodPlan): unknown {
  const { service, tags, meta } = plan;
  if (service === undefined) return undefined;
  return {
    ...service,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: heddle fills it in, in the pod
    advertise: "${POD_IP}",
    ...(tags.length === 0 ? {} : { tags }),
    ...(Object.keys(meta).length === 0 ? {} : { meta }),
  };
}

function upstreamOf(plan: PodPlan, { name, localPort, query, datacenter }: WantedUpstream): unknown {
  const port = localPort === undefined ? {} : { localPort };
  if (plan.discovery === "kubernetes") {
    const [service, namespace] = name.split(".");
    return {
      ...port,
      from: [{ kubernetes: { service, ...(namespace === undefined ? {} : { namespace }) } }],
    };
  }
  const asked = {
    ...(query === undefined ? {} : { query }),
    ...(query === undefined && datacenter !== undefined ? { service: name } : {}),
    ...(datacenter === undefined ? {} : { datacenter }),
  };
  return Object.keys(asked).length === 0 ? port : { ...port, from: [{ consul: asked }] };
}
