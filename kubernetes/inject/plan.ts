/**
 * What a sidecar of this pod is like: everything that was said, with the defaults, and what the pod itself says.
 */
import type { Said } from "./annotations.ts";
import { cut, type Fields, fieldsAt, listAt, numberAt, textAt, told, withoutEnd } from "./fields.ts";
import type { InjectFault } from "./said.ts";
import type { ConfigMapKey, WantedUpstream } from "./values.ts";

/** What whoever injects knows beside the pod. */
export interface PodContext {
  /** The name of the workload that the pod is of; undefined for a pod that has come alone. */
  readonly workload: string | undefined;
  /** The image where no annotation says another. */
  readonly image: string;
}

export interface PodPlan {
  readonly service: { readonly name: string; readonly port: number } | undefined;
  readonly upstreams: readonly WantedUpstream[];
  readonly configMap: ConfigMapKey | undefined;
  readonly discovery: "consul" | "kubernetes";
  readonly consulAddress: string;
  readonly transparent: boolean;
  readonly native: boolean;
  readonly first: boolean;
  readonly image: string;
  /** That of the init container, which needs a shell and nft. */
  readonly redirectImage: string;
  readonly imagePullPolicy: string | undefined;
  readonly resources: Fields;
  readonly logLevel: string | undefined;
  readonly grace: string;
  /** `terminationGracePeriodSeconds`. */
  readonly terminationSeconds: number;
  readonly uid: number;
  readonly ports: SidecarPorts;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly rewriteProbes: boolean;
  readonly exclude: {
    readonly inboundPorts: readonly number[];
    readonly outboundPorts: readonly number[];
    readonly outboundCidrs: readonly string[];
    readonly uids: readonly number[];
  };
}

export interface SidecarPorts {
  readonly outbound: number;
  readonly inbound: number;
  readonly admin: number;
  readonly health: number;
}

/** What the Dockerfile's stage `redirect` is tagged with behind the version. */
const REDIRECT_TAG = "-redirect";
/** The user of the image. */
export const USUAL_UID = 10_001;
const USUAL_PORTS: SidecarPorts = { outbound: 15_001, inbound: 15_006, admin: 15_000, health: 15_021 };
/** What Kubernetes takes where nothing is said. */
const USUAL_TERMINATION_SECONDS = 30;
/** What is left for the process to end after its grace, before the kubelet kills it. */
const SPARE_SECONDS = 5;
// biome-ignore lint/suspicious/noTemplateCurlyInString: heddle fills it in, in the pod
const AGENT_OF_NODE = "http://${HOST_IP}:8500";

export type Planned = { readonly plan: PodPlan } | { readonly faults: readonly InjectFault[] };

/** @param path where the pod stands in its document, for faults */
export function planPod(
  pod: Fields,
  said: Said,
  context: PodContext,
  path: readonly (string | number)[],
): Planned {
  const spec = fieldsAt(pod, "spec");
  const faults: InjectFault[] = [];
  const ports: SidecarPorts = {
    outbound: said["outbound-port"] ?? USUAL_PORTS.outbound,
    inbound: said["inbound-port"] ?? USUAL_PORTS.inbound,
    admin: said["admin-port"] ?? USUAL_PORTS.admin,
    health: said["health-port"] ?? USUAL_PORTS.health,
  };
  const service = serviceOf(pod, said, context, path, faults);
  faults.push(...clashes(spec, ports, said.upstreams ?? [], service, path));
  const transparent = said.mode === "transparent";
  const uid = said.uid ?? USUAL_UID;
  if (transparent) faults.push(...sharedUsers(spec, uid, path));
  const image = said.image ?? context.image;
  const redirectImage = said["redirect-image"] ?? tagged(image, REDIRECT_TAG);
  if (transparent && redirectImage === undefined) {
    const message = `expected heddle.dev/redirect-image beside the image ${cut(image)}: one by digest has no tag to find the other by`;
    faults.push({ path: [...path, "metadata", "annotations"], message });
  }
  if (faults.length > 0) return { faults };
  const terminationSeconds = numberAt(spec, "terminationGracePeriodSeconds") ?? USUAL_TERMINATION_SECONDS;
  const plan: PodPlan = {
    service,
    upstreams: said.upstreams ?? [],
    configMap: said.config,
    discovery: said.discovery ?? "consul",
    consulAddress: said["consul-address"] ?? AGENT_OF_NODE,
    transparent,
    native: said.sidecar !== "classic",
    first: said.position !== "last",
    image,
    redirectImage: redirectImage ?? image,
    imagePullPolicy: said["image-pull-policy"],
    resources: resourcesOf(said),
    logLevel: said["log-level"],
    grace: said.grace ?? `${Math.max(1, terminationSeconds - SPARE_SECONDS)}s`,
    terminationSeconds,
    uid,
    ports,
    tags: said["service-tags"] ?? [],
    meta: said["service-meta"] ?? {},
    rewriteProbes: (said["rewrite-probes"] ?? (transparent ? "enabled" : "disabled")) === "enabled",
    exclude: {
      inboundPorts: said["exclude-inbound-ports"] ?? [],
      outboundPorts: said["exclude-outbound-ports"] ?? [],
      outboundCidrs: said["exclude-outbound-cidrs"] ?? [],
      uids: said["exclude-uids"] ?? [],
    },
  };
  return { plan };
}

function serviceOf(
  pod: Fields,
  said: Said,
  context: PodContext,
  path: readonly (string | number)[],
  faults: InjectFault[],
): PodPlan["service"] {
  const port = portOf(pod, said, path, faults);
  if (port === undefined) return undefined;
  const labels = fieldsAt(fieldsAt(pod, "metadata"), "labels");
  const name =
    said.service ??
    textAt(labels, "app.kubernetes.io/name") ??
    textAt(labels, "app") ??
    context.workload ??
    ownName(pod);
  if (name !== undefined && /^[a-z0-9][a-z0-9_.-]*$/.test(name)) return { name, port };
  const got = name === undefined ? "a pod without a name" : told(name);
  const message = `expected the name of the service in the annotation heddle.dev/service, got ${got}`;
  // With a ConfigMap the name is said there.
  if (said.config === undefined) faults.push({ path: [...path, "metadata"], message });
  return undefined;
}

/** Of `web-7c9d4b8f6-` with the hash of its template, `web`. */
function ownName(pod: Fields): string | undefined {
  const metadata = fieldsAt(pod, "metadata");
  const generated = textAt(metadata, "generateName")?.replace(/-$/, "");
  const hash = textAt(fieldsAt(metadata, "labels"), "pod-template-hash");
  const stem = hash === undefined || generated === undefined ? generated : withoutEnd(generated, `-${hash}`);
  return textAt(metadata, "name") ?? stem;
}

function portOf(
  pod: Fields,
  said: Said,
  path: readonly (string | number)[],
  faults: InjectFault[],
): number | undefined {
  const declared = listAt(fieldsAt(pod, "spec"), "containers").flatMap((container) =>
    listAt(container, "ports"),
  );
  if (typeof said.port === "number") return said.port;
  const isTcp = (port: Fields) => (textAt(port, "protocol") ?? "TCP") === "TCP";
  if (said.port === undefined) {
    const first = declared.find(isTcp);
    return first === undefined ? undefined : numberAt(first, "containerPort");
  }
  const named = declared.find((port) => port["name"] === said.port);
  const number = named === undefined ? undefined : numberAt(named, "containerPort");
  if (number === undefined) {
    const names = declared.flatMap((port) => textAt(port, "name") ?? []).join(", ") || "none";
    const message = `expected the name of a port that a container declares (${cut(names)}), got ${told(said.port)}`;
    faults.push({ path: [...path, "metadata", "annotations", "heddle.dev/port"], message });
  }
  return number;
}

/** Ports that two would listen on. */
function clashes(
  spec: Fields,
  ports: SidecarPorts,
  upstreams: readonly WantedUpstream[],
  service: PodPlan["service"],
  path: readonly (string | number)[],
): InjectFault[] {
  const faults: InjectFault[] = [];
  const ours = new Map<number, string>();
  const claim = (port: number, owner: string) => {
    const other = ours.get(port);
    if (other === undefined) ours.set(port, owner);
    else {
      const message = `expected a port for each, got ${port} for ${other} and for ${owner}`;
      faults.push({ path: [...path, "metadata", "annotations"], message });
    }
  };
  for (const [name, port] of Object.entries(ports)) claim(port, `heddle.dev/${name}-port`);
  for (const { name, localPort } of upstreams)
    if (localPort !== undefined) claim(localPort, `the upstream ${cut(name)}`);
  for (const list of ["containers", "initContainers"])
    for (const [i, container] of listAt(spec, list).entries())
      for (const [j, declared] of listAt(container, "ports").entries()) {
        const port = numberAt(declared, "containerPort");
        const owner = port === undefined ? undefined : ours.get(port);
        if (owner === undefined) continue;
        const message = `expected a port that the sidecar does not need, got ${port}, which is ${owner}; say another one there`;
        faults.push({ path: [...path, "spec", list, i, "ports", j, "containerPort"], message });
      }
  const owner = service === undefined ? undefined : ours.get(service.port);
  if (owner !== undefined && faults.length === 0) {
    const message = `expected the port of the app, got ${service?.port}, which is ${owner}`;
    faults.push({ path: [...path, "metadata", "annotations"], message });
  }
  return faults;
}

/** The same image with a longer tag, such as `heddle:1.0-redirect`; undefined for one by digest. */
function tagged(image: string, suffix: string): string | undefined {
  if (image.includes("@")) return undefined;
  const name = image.slice(image.lastIndexOf("/") + 1);
  return `${image}${name.includes(":") ? "" : ":latest"}${suffix}`;
}

/** Whoever runs as the sidecar's user is not redirected, and so is not in the mesh. */
function sharedUsers(spec: Fields, uid: number, path: readonly (string | number)[]): InjectFault[] {
  const places: [Fields, readonly (string | number)[]][] = [[spec, [...path, "spec"]]];
  for (const [i, container] of listAt(spec, "containers").entries())
    places.push([container, [...path, "spec", "containers", i]]);
  return places
    .filter(([holder]) => numberAt(fieldsAt(holder, "securityContext"), "runAsUser") === uid)
    .map(([, place]) => ({
      path: [...place, "securityContext", "runAsUser"],
      message: `expected another user than that of the sidecar, whose traffic is not redirected, got ${uid}; heddle.dev/uid changes the sidecar's`,
    }));
}

function resourcesOf(said: Said): Fields {
  const cpuLimit = said["cpu-limit"];
  return {
    requests: { cpu: said["cpu-request"] ?? "100m", memory: said["memory-request"] ?? "128Mi" },
    limits: {
      ...(cpuLimit === undefined ? {} : { cpu: cpuLimit }),
      memory: said["memory-limit"] ?? "512Mi",
    },
  };
}
