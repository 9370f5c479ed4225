/**
 * The certificate of the webhook in its cluster: a Secret for the servers, and the authority in the webhook's configuration for the API server.
 *
 * The API server is told first. It trusts the new authority beside the old one before the first server has a certificate of it, since a
 * kubelet may take a minute to bring a Secret to its pods, and each of them its own time.
 *
 * It can be run at any time and twice at once: what is well is left alone, and a write that somebody else has overtaken is refused by the API server
 * and begun anew.
 */
import { type ConfiguredAccess, clusterAccess } from "../../discovery/index.ts";
import { type Fields, fieldsAt, textAt } from "../inject/index.ts";
import type { MadeCertificate } from "./certificates.ts";
import { ApiError, ClusterApi } from "./cluster-api.ts";

export interface CertificateOrder {
  readonly namespace: string;
  /** Of the Service, the Secret and the configuration, which have the same. */
  readonly name: string;
  readonly validMs: number;
  /** A certificate that ends sooner is renewed. */
  readonly renewWithinMs: number;
}

/** Within it every kubelet has brought a new Secret to its pods; it looks each minute or so. */
const SETTLED_MS = 3_600_000;
const OVERTAKEN = [404, 409, 422];
const MOST_TRIES = 5;

/**
 * @param environment such as process.env
 * @param nowMs milliseconds since 1970
 * @returns what was done, in words
 * @throws Error when there is no cluster, no answer, or a refusal
 */
export async function provideClusterCertificate(
  access: ConfiguredAccess,
  environment: Readonly<Record<string, string | undefined>>,
  order: CertificateOrder,
  nowMs: number,
): Promise<string> {
  const api = new ClusterApi(clusterAccess({ namespace: order.namespace, ...access }, environment));
  for (let tries = 1; ; tries++)
    try {
      return await provideOnce(api, order, nowMs);
    } catch (thrown) {
      const isOvertaken = thrown instanceof ApiError && OVERTAKEN.includes(thrown.status);
      if (!isOvertaken || tries === MOST_TRIES) throw thrown;
    }
}

async function provideOnce(api: ClusterApi, order: CertificateOrder, nowMs: number): Promise<string> {
  // Loaded here: what is made of X.509 weighs more than all the rest, and only this has a use for it.
  const { madeAtMs, makeCertificate, readableIn, whyNot } = await import("./certificates.ts");
  const { namespace, name, validMs, renewWithinMs } = order;
  const names = [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`];
  const secrets = `/api/v1/namespaces/${namespace}/secrets`;
  const found = await api.find(`${secrets}/${name}`);
  const held = found === undefined ? undefined : heldIn(found);
  const fault = held === undefined ? "there is none" : whyNot(held, names, nowMs, renewWithinMs);
  if (held !== undefined && fault === undefined) {
    // Soon after a renewal servers may have the one before still, such as when a second run was under way.
    const isSettled = nowMs - madeAtMs(held.cert) >= SETTLED_MS;
    const own = readableIn(held.ca);
    const told = await tell(api, name, (trusted) =>
      isSettled ? own : [...new Set([...own, ...readableIn(trusted)])],
    );
    return `the certificate stays${told ? "; its authority was told to the API server" : ""}`;
  }
  const made = await makeCertificate(names, nowMs, validMs);
  const old = held === undefined ? [] : readableIn(held.ca);
  await tell(api, name, () => [made.ca, ...old]);
  const secret = {
    ...(found ?? { apiVersion: "v1", kind: "Secret", metadata: { name, namespace } }),
    // It cannot be changed, and any will do.
    type: found === undefined ? "kubernetes.io/tls" : found["type"],
    data: { "tls.crt": base64(made.cert), "tls.key": base64(made.key), "ca.crt": base64(made.ca) },
  };
  // What was found carries its resourceVersion, so a newer one is not overwritten.
  if (found === undefined) await api.send("POST", secrets, secret);
  else await api.send("PUT", `${secrets}/${name}`, secret);
  return `a new certificate was made: ${fault}`;
}

function heldIn(secret: Fields): MadeCertificate {
  const data = fieldsAt(secret, "data");
  const text = (key: string) => Buffer.from(textAt(data, key) ?? "", "base64").toString("utf8");
  return { ca: text("ca.crt"), cert: text("tls.crt"), key: text("tls.key") };
}

/**
 * Makes these the authorities that the API server trusts for each webhook.
 * @param of what it trusts now, in PEM
 * @returns whether it had others
 */
async function tell(
  api: ClusterApi,
  name: string,
  of: (trusted: string) => readonly string[],
): Promise<boolean> {
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`;
  const configuration = await api.find(path);
  if (configuration === undefined) throw new ApiError(404, `there is no webhook configuration ${name}`);
  const list = configuration["webhooks"];
  const webhooks: readonly unknown[] = Array.isArray(list) ? list : [];
  const changes = webhooks.flatMap((webhook, i) => {
    const trusted = textAt(fieldsAt(webhook, "clientConfig"), "caBundle") ?? "";
    const value = base64(of(Buffer.from(trusted, "base64").toString("utf8")).join(""));
    return value === trusted ? [] : [{ op: "add", path: `/webhooks/${i}/clientConfig/caBundle`, value }];
  });
  if (changes.length === 0) return false;
  const version = textAt(fieldsAt(configuration, "metadata"), "resourceVersion");
  // By position, so the list must still be the one that was read.
  const same = { op: "test", path: "/metadata/resourceVersion", value: version };
  await api.send("PATCH", path, [same, ...changes]);
  return true;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
