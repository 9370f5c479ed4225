/**
 * The probes of the app, sent through the sidecar's health port.
 *
 * Where traffic is redirected, a probe of the kubelet meets the sidecar and not the app: a TCP probe would succeed as long as the sidecar
 * listens, a gRPC probe would fail as the sidecar does not speak HTTP/2, and an HTTP probe would be limited, shed and counted like
 * the requests of peers. So the kubelet asks the health port, and the sidecar asks the app as the probe would have.
 *
 * Without redirection a probe reaches the app's own port as it always did, and is left alone.
 */
import {
  copyOf,
  cut,
  type Fields,
  fieldsAt,
  isFields,
  listAt,
  numberAt,
  textAt,
  told,
  withFields,
} from "./fields.ts";

/** One entry of `health.probes` in the configuration. */
export interface AppProbe {
  readonly path: string;
  readonly port: number;
  readonly type: "http" | "tcp" | "grpc";
  readonly target?: string;
  readonly host?: string;
  readonly service?: string;
  readonly timeout: string;
}

export interface RewrittenProbes {
  readonly spec: Fields;
  readonly probes: readonly AppProbe[];
  /** The probes that were, by `initContainers/NAME/startupProbe`. */
  readonly originals: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** How a reference to the environment begins in the configuration. */
const REFERENCE = "${";
const KINDS = ["startupProbe", "readinessProbe", "livenessProbe"] as const;
const CONTAINER_LISTS = ["initContainers", "containers"] as const;

export function rewriteProbes(spec: Fields, healthPort: number): RewrittenProbes {
  const probes: AppProbe[] = [];
  const originals: Record<string, unknown> = {};
  const warnings: string[] = [];
  const owners = new Map<unknown, number>();
  for (const list of CONTAINER_LISTS)
    for (const { name } of listAt(spec, list)) owners.set(name, (owners.get(name) ?? 0) + 1);
  let rewritten = spec;
  for (const list of CONTAINER_LISTS) {
    const containers = rewritten[list];
    if (!Array.isArray(containers)) continue;
    const changed = containers.map((container: unknown) => {
      if (!isFields(container)) return container;
      let result = container;
      const name = textAt(container, "name") ?? "";
      for (const kind of KINDS) {
        const probe = container[kind];
        if (!isFields(probe)) continue;
        const path = `/app-health/${name}/${kind.replace("Probe", "")}`;
        // A name leads to one container and can stand in a path.
        const asked =
          owners.get(name) === 1 && /^[a-z0-9-]+$/.test(name)
            ? plainly(askedOf(probe, container, path))
            : "its name is no container's own";
        if (asked === undefined) continue;
        if (typeof asked === "string") {
          warnings.push(`${kind} of the container ${cut(name)} is left as it is: ${asked}`);
          continue;
        }
        probes.push(asked);
        originals[`${list}/${name}/${kind}`] = copyOf(probe);
        const { httpGet, tcpSocket, grpc, ...rest } = probe;
        result = withFields(result, { [kind]: { httpGet: { path, port: healthPort }, ...rest } });
      }
      return result;
    });
    rewritten = withFields(rewritten, { [list]: changed });
  }
  return { spec: probes.length === 0 ? spec : rewritten, probes, originals, warnings };
}

/** The configuration has no way to say what it would fill in otherwise. */
function plainly(asked: AppProbe | string | undefined): AppProbe | string | undefined {
  const isFilledIn =
    typeof asked === "object" && Object.values(asked).some((part) => String(part).includes(REFERENCE));
  return isFilledIn ? `the configuration would fill in its ${REFERENCE}` : asked;
}

/** What the sidecar is to ask; undefined for what runs inside of the container, a text for what it cannot ask. */
function askedOf(probe: Fields, container: Fields, path: string): AppProbe | string | undefined {
  const timeout = `${numberAt(probe, "timeoutSeconds") ?? 1}s`;
  const of = (action: Fields) => {
    const port = portNumber(action["port"], container);
    return port ?? `its port ${told(action["port"])} is not declared`;
  };
  if (isFields(probe["httpGet"])) {
    const action = fieldsAt(probe, "httpGet");
    if (textAt(action, "scheme")?.toUpperCase() === "HTTPS")
      return "it asks by HTTPS; exclude its port instead";
    if (action["host"] !== undefined) return "it asks another host";
    const fields = listAt(action, "httpHeaders");
    const host = fields.find((field) => textAt(field, "name")?.toLowerCase() === "host");
    if (fields.length > (host === undefined ? 0 : 1)) return "it sends header fields of its own";
    const port = of(action);
    if (typeof port === "string") return port;
    const given = textAt(action, "path") ?? "/";
    const target = given.startsWith("/") ? given : `/${given}`;
    if (!/^\/[\x21-\x7e]*$/.test(target)) return "its path has characters that a request cannot have";
    const named = host === undefined ? undefined : textAt(host, "value");
    return { path, port, type: "http", target, ...(named === undefined ? {} : { host: named }), timeout };
  }
  if (isFields(probe["tcpSocket"])) {
    const action = fieldsAt(probe, "tcpSocket");
    if (action["host"] !== undefined) return "it asks another host";
    const port = of(action);
    return typeof port === "string" ? port : { path, port, type: "tcp", timeout };
  }
  if (isFields(probe["grpc"])) {
    const action = fieldsAt(probe, "grpc");
    const port = of(action);
    const service = textAt(action, "service");
    return typeof port === "string"
      ? port
      : { path, port, type: "grpc", ...(service === undefined ? {} : { service }), timeout };
  }
  return undefined;
}

function portNumber(port: unknown, container: Fields): number | undefined {
  if (typeof port === "number") return port;
  const declared = listAt(container, "ports").find((entry) => entry["name"] === port);
  return declared === undefined ? undefined : numberAt(declared, "containerPort");
}
