/**
 * The annotations of a pod that heddle heeds, as one table: what each expects, what holds without it, what it is for.
 *
 * What `heddle inject` is told on its command line goes through the same table, so that an option and an annotation cannot differ in
 * what they take. docs/kubernetes.md lists the table, and a test compares the two.
 */
import {
  cidrs,
  configMapKey,
  duration,
  httpAddress,
  image,
  type Kind,
  oneOf,
  pairs,
  port,
  portOrName,
  ports,
  quantity,
  serviceName,
  upstreams,
  userId,
  userIds,
  words,
} from "./values.ts";

export const PREFIX = "heddle.dev/";

/** The levels of `telemetry.logLevel`. */
const LEVELS = oneOf("debug", "info", "warn", "error", "silent");

interface Annotation<T> {
  readonly kind: Kind<T>;
  /** What holds without it, for people. */
  readonly fallback: string;
  readonly about: string;
}

function annotation<T>(kind: Kind<T>, fallback: string, about: string): Annotation<T> {
  return { kind, fallback, about };
}

const SWITCH = oneOf("enabled", "disabled");

export const ANNOTATIONS = {
  inject: annotation(SWITCH, "`enabled`", "`disabled` leaves the pod as it is."),
  service: annotation(
    serviceName,
    "the label `app.kubernetes.io/name` or `app`, else the name of the workload",
    "The name of the service in the registry.",
  ),
  port: annotation(
    portOrName,
    "the first TCP port that a container declares",
    "Where the app listens. Without any port there is no inbound side.",
  ),
  upstreams: annotation(
    upstreams,
    "none",
    "Whom the app calls, each perhaps with a port on loopback that leads there, such as `orders:9190,search`.",
  ),
  config: annotation(
    configMapKey,
    "none",
    "A ConfigMap with the configuration, in the key `heddle.yaml` unless `name/key` says another. It says what `service`, `upstreams` and the like would say.",
  ),
  discovery: annotation(
    oneOf("consul", "kubernetes"),
    "`consul`",
    "Where upstreams are found: in Consul, or in the EndpointSlices of the Service of that name.",
  ),
  "consul-address": annotation(
    httpAddress,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: heddle fills it in, in the pod
    "`http://${HOST_IP}:8500`, the agent of the node",
    "The Consul agent.",
  ),
  mode: annotation(
    oneOf("explicit", "transparent"),
    "`explicit`",
    "`explicit`: the app calls the outbound port or those of `upstreams`. `transparent`: an init container redirects its traffic.",
  ),
  sidecar: annotation(
    oneOf("native", "classic"),
    "`native`",
    "`native`: an init container with `restartPolicy: Always` (Kubernetes 1.29). `classic`: an ordinary container.",
  ),
  position: annotation(
    oneOf("first", "last"),
    "`first`",
    "Where a native sidecar stands among the init containers: those behind it may use the mesh.",
  ),
  image: annotation(image, "that of `heddle inject --image`", "The image of the sidecar."),
  "redirect-image": annotation(
    image,
    "that of the sidecar, with `-redirect` behind its tag",
    "In transparent mode, the image of the init container; it needs a shell and nft or iptables.",
  ),
  "image-pull-policy": annotation(
    oneOf("Always", "IfNotPresent", "Never"),
    "that of Kubernetes",
    "When the image is pulled.",
  ),
  "cpu-request": annotation(quantity, "`100m`", "What the scheduler counts for the sidecar."),
  "cpu-limit": annotation(
    quantity,
    "none",
    "What it may use. A limit makes every request wait when it is reached, so there is none unless asked for.",
  ),
  "memory-request": annotation(quantity, "`128Mi`", "What the scheduler counts for the sidecar."),
  "memory-limit": annotation(quantity, "`512Mi`", "What it may use; beyond it is ended."),
  "log-level": annotation(LEVELS, "`info`", "`telemetry.logLevel`."),
  grace: annotation(
    duration,
    "5 s less than `terminationGracePeriodSeconds`",
    "`shutdown.grace`: how long the sidecar may take to finish.",
  ),
  uid: annotation(userId, "`10001`", "The user that the sidecar runs as."),
  "outbound-port": annotation(port, "`15001`", "Where the app calls its peers, on loopback."),
  "inbound-port": annotation(port, "`15006`", "Where peers call the app."),
  "admin-port": annotation(port, "`15000`", "The admin port, on loopback."),
  "health-port": annotation(port, "`15021`", "Where the kubelet asks for the health of sidecar and app."),
  "service-tags": annotation(words, "none", "Tags of the registration in Consul."),
  "service-meta": annotation(
    pairs,
    "none",
    "Metadata of the registration in Consul, such as `version=v2,team=shop`.",
  ),
  "rewrite-probes": annotation(
    SWITCH,
    "`enabled` where the mode is transparent",
    "Whether the probes of the app are sent through the health port.",
  ),
  "exclude-inbound-ports": annotation(ports, "none", "Ports of the pod that are not redirected."),
  "exclude-outbound-ports": annotation(ports, "none", "Ports that the app calls without redirection."),
  "exclude-outbound-cidrs": annotation(cidrs, "none", "Networks that the app calls without redirection."),
  "exclude-uids": annotation(userIds, "none", "Users of the pod whose calls are not redirected."),
} as const;

export type AnnotationName = keyof typeof ANNOTATIONS;

/** What was said, read; a name that is missing has not been said. */
export type Said = {
  readonly [Name in AnnotationName]?: NonNullable<ReturnType<(typeof ANNOTATIONS)[Name]["kind"]["read"]>>;
};

/** Written by heddle, never by hand. */
export const STATUS = `${PREFIX}status`;
export const REPLACED = `${PREFIX}replaced`;

export function isAnnotationName(name: string): name is AnnotationName {
  return Object.hasOwn(ANNOTATIONS, name);
}

/** A value as the table has it, or what was expected. */
export function readAnnotation<Name extends AnnotationName>(
  name: Name,
  text: string,
): { readonly value: NonNullable<Said[Name]> } | { readonly expected: string } {
  const { kind } = ANNOTATIONS[name];
  const value = kind.read(text.trim());
  return value === undefined ? { expected: kind.expected } : { value: value as NonNullable<Said[Name]> };
}
