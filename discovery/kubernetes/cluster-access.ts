/**
 * Which API server to ask, and with what: from what is configured, and inside a cluster from what Kubernetes gives every
 * pod, its environment and the files of its service account.
 *
 * The files' defaults hold for the cluster's own server only. A server that is given by its URL, such as a `kubectl proxy`,
 * is not handed the pod's token because nobody said otherwise.
 */
import { readFileSync } from "node:fs";

/** Where Kubernetes mounts token, ca.crt and namespace of a pod's service account. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface ClusterAccess {
  /** The API server's URL, without a slash at its end; a path is kept, as for servers behind a gateway. */
  readonly server: string;
  /** Read anew for every request, since tokens rotate; undefined to send none. */
  readonly tokenFile: string | undefined;
  /** Certificates to trust instead of the system's. */
  readonly caFile: string | undefined;
  readonly namespace: string;
}

/** What is configured of it; what is undefined is found out. */
export type ConfiguredAccess = { readonly [Part in keyof ClusterAccess]?: ClusterAccess[Part] | undefined };

/**
 * @param environment such as process.env
 * @param folder where the service account's files are
 * @throws Error that says what is missing and how to give it
 */
export function clusterAccess(
  configured: ConfiguredAccess,
  environment: Readonly<Record<string, string | undefined>>,
  folder: string = SERVICE_ACCOUNT,
): ClusterAccess {
  const given = configured.server !== undefined;
  const url = configured.server === undefined ? inCluster(environment) : readUrl(configured.server);
  const tokenFile = configured.tokenFile ?? (given ? undefined : `${folder}/token`);
  if (tokenFile !== undefined && url.protocol === "http:" && !isLoopback(url.hostname))
    throw new Error(`${url.origin} is not https: everyone on the way could read the token`);
  return {
    server: url.href.replace(/\/+$/, ""),
    tokenFile,
    caFile: configured.caFile ?? (given ? undefined : `${folder}/ca.crt`),
    namespace: configured.namespace ?? ownNamespace(folder),
  };
}

function inCluster(environment: Readonly<Record<string, string | undefined>>): URL {
  const host = environment["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = environment["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (host === "")
    throw new Error(
      "KUBERNETES_SERVICE_HOST is not set, so this is not a pod of a cluster: give the API server's URL",
    );
  const url = URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  if (url === null)
    throw new Error(
      `KUBERNETES_SERVICE_HOST ${JSON.stringify(host)} and KUBERNETES_SERVICE_PORT ${JSON.stringify(port)} make no URL`,
    );
  return url;
}

function readUrl(server: string): URL {
  const url = URL.parse(server);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:"))
    throw new Error("the API server must be a URL that begins with https:// or http://");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new Error("the API server's URL must have no user, query or fragment");
  return url;
}

function ownNamespace(folder: string): string {
  const file = `${folder}/namespace`;
  let namespace: string;
  try {
    namespace = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new Error(`no namespace is given, and there is none in ${file}`, { cause });
  }
  if (namespace === "") throw new Error(`no namespace is given, and ${file} is empty`);
  return namespace;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/.test(hostname);
}
