/**
 * The webhook as the API server sees it: reviews, an HTTPS client that trusts its authority, and what the API server does with the answer.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import type { Clock } from "../../core/index.ts";
import { type AdmissionPolicy, Webhook, type WebhookAddresses } from "../../kubernetes/index.ts";
import { systemClock } from "../../proxy/index.ts";
import type { Teardown } from "./apps.ts";
import { type Fields, optionsOf } from "./injecting.ts";
import { selfSigned } from "./kubernetes-api.ts";

export const POLICY: AdmissionPolicy = {
  inject: optionsOf(),
  pods: "all",
  onFault: "deny",
  onFailure: "allow",
};

/** A pod as a ReplicaSet makes it, with what the API server has filled in. */
export const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    generateName: "web-7d4b9c6f5-",
    labels: { app: "web", "pod-template-hash": "7d4b9c6f5" },
    annotations: { "heddle.dev/upstreams": "orders:9190", "team~a/b": "kept" },
    ownerReferences: [
      {
        apiVersion: "apps/v1",
        kind: "ReplicaSet",
        name: "web-7d4b9c6f5",
        uid: "e5bf8f3c-0000-4000-8000-000000000001",
        controller: true,
        blockOwnerDeletion: true,
      },
    ],
  },
  spec: {
    volumes: [{ name: "token", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } }],
    containers: [
      {
        name: "web",
        image: "registry.example/web:1",
        ports: [{ containerPort: 8080, protocol: "TCP" }],
        readinessProbe: { httpGet: { path: "/ready", port: 8080, scheme: "HTTP" }, timeoutSeconds: 1 },
        volumeMounts: [{ name: "token", mountPath: "/var/run/secrets", readOnly: true }],
      },
    ],
    restartPolicy: "Always",
    serviceAccountName: "default",
    tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" }],
  },
  status: {},
} as const;

let uids = 0;

/** A review as API servers since 1.16 send it. */
export function reviewOf(object: unknown, request: Fields = {}, version = "v1") {
  uids += 1;
  const group = { group: "", version: "v1" };
  return {
    kind: "AdmissionReview",
    apiVersion: `admission.k8s.io/${version}`,
    request: {
      uid: `705ab4f5-6393-11e8-b7cc-${String(uids).padStart(12, "0")}`,
      kind: { ...group, kind: "Pod" },
      resource: { ...group, resource: "pods" },
      requestKind: { ...group, kind: "Pod" },
      requestResource: { ...group, resource: "pods" },
      namespace: "shop",
      operation: "CREATE",
      userInfo: { username: "system:serviceaccount:kube-system:replicaset-controller", groups: [] },
      object,
      oldObject: null,
      dryRun: false,
      options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" },
      ...request,
    },
  };
}

export interface AdmissionResponse {
  readonly uid: string;
  readonly allowed: boolean;
  readonly patchType?: string;
  readonly patch?: string;
  readonly warnings?: readonly string[];
  readonly status?: { readonly code: number; readonly message: string; readonly reason: string };
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

/** What the API server makes of an object and a JSON Patch (RFC 6902: add, remove, replace). @throws Error as the RFC asks */
export function patched(object: unknown, operations: readonly Operation[]): unknown {
  const root = { "": structuredClone(object) } as Record<string, unknown>;
  for (const { op, path, value } of operations) {
    const keys = path.split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop()!;
    let holder: unknown = path === "" ? root : root[""];
    for (const key of keys.slice(1)) holder = (holder as Record<string, unknown>)[key];
    if (typeof holder !== "object" || holder === null) throw new Error(`${op}: nothing holds ${path}`);
    const fields = holder as Record<string, unknown>;
    if (op !== "add" && !Object.hasOwn(fields, last)) throw new Error(`${op}: there is no ${path}`);
    if (Array.isArray(holder)) {
      const at = last === "-" ? holder.length : Number(last);
      if (!(at <= holder.length)) throw new Error(`${op}: ${path} is out of the list`);
      if (op === "add") holder.splice(at, 0, structuredClone(value));
      else if (op === "remove") holder.splice(at, 1);
      else holder[at] = structuredClone(value);
    } else if (op === "remove") delete fields[last];
    else fields[last] = structuredClone(value);
  }
  return root[""];
}

/** The operations in an answer; empty where there are none. */
export function operationsIn({ patch }: AdmissionResponse): Operation[] {
  return patch === undefined ? [] : JSON.parse(Buffer.from(patch, "base64").toString("utf8"));
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** It came on a connection that had been used before. */
  readonly reused: boolean;
}

export interface Asking {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client that keeps its connections, as the API server does. */
export class ApiServer {
  readonly agent: Agent;
  readonly port: number;

  constructor(t: Teardown, port: number, ca: string, tls: object = {}) {
    this.port = port;
    this.agent = new Agent({ keepAlive: true, ca, ...tls });
    t.teardown(() => this.agent.destroy());
  }

  async send(body: string | Buffer, { method = "POST", path, headers }: Asking = {}): Promise<HttpAnswer> {
    const call = request({
      host: "127.0.0.1",
      port: this.port,
      method,
      path: path ?? "/inject?timeout=10s",
      agent: this.agent,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers },
    });
    call.end(body);
    const [response] = await once(call, "response");
    const text = (await buffer(response)).toString("utf8");
    return { status: response.statusCode, headers: response.headers, text, reused: call.reusedSocket };
  }

  /** The response in the answer to a review, which must have come with 200, the review's uid and its version. */
  async review(review: ReturnType<typeof reviewOf>): Promise<AdmissionResponse> {
    const { status, text } = await this.send(JSON.stringify(review));
    const answer = status === 200 ? JSON.parse(text) : {};
    if (answer.apiVersion !== review.apiVersion || answer.response?.uid !== review.request.uid)
      throw new Error(`${status}: ${text}`);
    return answer.response;
  }
}

/** A folder that goes with the test. */
export function folderFor(t: Teardown): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-webhook-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A webhook that runs, and who asks it. */
export interface Running {
  readonly webhook: Webhook;
  readonly addresses: WebhookAddresses;
  readonly api: ApiServer;
  readonly ca: string;
  readonly records: readonly Record<string, unknown>[];
  shown(path: string): Promise<{ readonly status: number; readonly text: string }>;
}

interface Wanted {
  readonly policy?: Partial<AdmissionPolicy>;
  readonly clock?: Clock;
  readonly lingerMs?: number;
}

export async function startWebhook(
  t: Teardown,
  { policy, clock = systemClock, lingerMs = 0 }: Wanted = {},
): Promise<Running> {
  const folder = folderFor(t);
  const pair = selfSigned(folder);
  if (pair === undefined) throw new Error("expected openssl");
  const files = { certificate: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  writeFileSync(files.certificate, pair.cert);
  writeFileSync(files.key, pair.key);
  const records: Record<string, unknown>[] = [];
  const say = (facts: object, message: string) => void records.push({ ...facts, message });
  const free = { host: "127.0.0.1", port: 0 };
  const webhook = new Webhook(
    { policy: { ...POLICY, ...policy }, listen: free, health: free, ...files, lingerMs },
    clock,
    { debug: say, info: say, warn: say, error: say },
  );
  t.teardown(() => webhook.destroy());
  const addresses = await webhook.start();
  const shown = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${addresses.health.port}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const api = new ApiServer(t, addresses.listen.port, pair.cert);
  return { webhook, addresses, api, ca: pair.cert, records, shown };
}
