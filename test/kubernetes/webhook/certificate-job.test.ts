import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect, createServer as createTlsServer } from "node:tls";
import { test } from "tap";
import { main } from "../../../cli/main.ts";
import { type CertificateOrder, provideClusterCertificate } from "../../../kubernetes/index.ts";
import { makeCertificate, whyNot } from "../../../kubernetes/webhook/certificates.ts";
import type { Teardown } from "../../support/apps.ts";
import { schemaProblems } from "../../support/kubernetes-schema.ts";
import { folderFor, patched } from "../../support/webhook.ts";

type Fields = Readonly<Record<string, unknown>>;

const DAY_MS = 24 * 3_600_000;
const NOW_MS = Date.now();
const ORDER: CertificateOrder = {
  namespace: "heddle-system",
  name: "heddle-webhook",
  validMs: 365 * DAY_MS,
  renewWithinMs: 90 * DAY_MS,
};
const SECRETS = "/api/v1/namespaces/heddle-system/secrets";
const SECRET = `${SECRETS}/heddle-webhook`;
const CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/heddle-webhook";

/** Objects by their paths, with versions that writes must know, and what was asked, in order. */
async function apiServer(t: Teardown) {
  const objects = new Map<string, Fields>();
  const asked: string[] = [];
  /** Called before each request is answered. */
  const hooks: { before?: (request: IncomingMessage) => void } = {};
  let version = 0;
  const put = (path: string, object: Fields) => {
    const metadata = { ...(object["metadata"] as Fields), resourceVersion: String(++version) };
    objects.set(path, { ...object, metadata });
    return objects.get(path)!;
  };
  const versionOf = (object: Fields | undefined) =>
    (object?.["metadata"] as Fields | undefined)?.["resourceVersion"];
  const answer = (request: IncomingMessage, body: string): readonly [number, object] => {
    const { method, url = "", headers } = request;
    const found = objects.get(url);
    if (headers.authorization !== "Bearer of-the-job") return [401, { message: "Unauthorized" }];
    if (method === "POST") {
      const object = JSON.parse(body) as { readonly metadata: { readonly name: string } };
      const path = `${url}/${object.metadata.name}`;
      return objects.has(path) ? [409, { message: "already exists" }] : [201, put(path, { ...object })];
    }
    if (found === undefined) return [404, { message: "not found" }];
    if (method === "GET") return [200, found];
    if (method === "PATCH") {
      if (headers["content-type"] !== "application/json-patch+json") return [415, {}];
      const [same, ...changes] = JSON.parse(body);
      if (same.value !== versionOf(found)) return [422, { message: "the test failed" }];
      return [200, put(url, patched(found, changes) as Fields)];
    }
    const object = JSON.parse(body) as Fields;
    return versionOf(object) === versionOf(found) ? [200, put(url, object)] : [409, { message: "conflict" }];
  };
  const server = createServer(async (request, response) => {
    const body = await text(request);
    asked.push(`${request.method} ${request.url}`);
    hooks.before?.(request);
    const [status, object] = answer(request, body);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(object));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const tokenFile = join(folderFor(t), "token");
  writeFileSync(tokenFile, "of-the-job\n");
  put(CONFIGURATION, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "heddle-webhook" },
    webhooks: [
      { name: "one.heddle.dev", clientConfig: { service: { name: "a", namespace: "b" } } },
      { name: "two.heddle.dev", clientConfig: { caBundle: "b2xk" } },
    ],
  });
  const access = { server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, tokenFile };
  const provide = (nowMs = NOW_MS) => provideClusterCertificate(access, {}, ORDER, nowMs);
  const held = () => {
    const data = objects.get(SECRET)!["data"] as Readonly<Record<string, string>>;
    const of = (key: string) => Buffer.from(data[key]!, "base64").toString();
    return { ca: of("ca.crt"), cert: of("tls.crt"), key: of("tls.key") };
  };
  /** Of each webhook. */
  const trusted = () =>
    (
      objects.get(CONFIGURATION)!["webhooks"] as { readonly clientConfig: { readonly caBundle: string } }[]
    ).map(({ clientConfig }) => Buffer.from(clientConfig.caBundle, "base64").toString());
  return { access, objects, asked, hooks, put, provide, held, trusted };
}

test("a certificate that is made is believed by whoever trusts its authority, for its names and no other", async (t) => {
  const names = ["heddle-webhook.heddle-system.svc", "heddle-webhook.heddle-system.svc.cluster.local"];
  const made = await makeCertificate(names, NOW_MS, DAY_MS);
  const server = createTlsServer({ cert: made.cert, key: made.key, minVersion: "TLSv1.2" }, (socket) =>
    socket.end(),
  );
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const met = async (servername: string, ca: string) => {
    const socket = connect({ host: "127.0.0.1", port, servername, ca });
    const code = await once(socket, "secureConnect").then(
      () => "believed",
      (thrown) => (thrown as NodeJS.ErrnoException).code,
    );
    socket.destroy();
    return code;
  };
  for (const name of names) t.equal(await met(name, made.ca), "believed");
  t.equal(await met("other.heddle-system.svc", made.ca), "ERR_TLS_CERT_ALTNAME_INVALID");
  const { ca: other } = await makeCertificate(names, NOW_MS, DAY_MS);
  t.not(await met(names[0]!, other), "believed");
  t.equal(await met(names[0]!, made.ca + other), "believed", "beside another authority");
  const leaf = new X509Certificate(made.cert);
  t.equal(leaf.ca, false);
  t.same(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  t.equal(new X509Certificate(made.ca).ca, true);
});

test("a certificate will not do when it ends too soon, is for other names, or is not of its authority", async (t) => {
  const made = await makeCertificate(["a.b.svc"], NOW_MS, 100 * DAY_MS);
  const { ca } = await makeCertificate(["a.b.svc"], NOW_MS, 100 * DAY_MS);
  t.equal(whyNot(made, ["a.b.svc"], NOW_MS, 90 * DAY_MS), undefined);
  t.match(whyNot(made, ["a.b.svc"], NOW_MS + 11 * DAY_MS, 90 * DAY_MS), /^it ends at /);
  t.equal(whyNot(made, ["a.c.svc"], NOW_MS, DAY_MS), "it is not for a.c.svc");
  t.equal(whyNot({ ...made, ca }, ["a.b.svc"], NOW_MS, DAY_MS), "it is not of its authority");
  for (const part of ["ca", "cert", "key"])
    t.match(whyNot({ ...made, [part]: "" }, ["a.b.svc"], NOW_MS, DAY_MS), /^it cannot be read/, part);
  const { key } = await makeCertificate(["a.b.svc"], NOW_MS, 100 * DAY_MS);
  t.equal(whyNot({ ...made, key }, ["a.b.svc"], NOW_MS, DAY_MS), "its key is another one's");
  t.equal(whyNot(made, ["a.b.svc"], NOW_MS - 4 * 60_000, DAY_MS), undefined, "clocks differ a little");
  t.match(whyNot(made, ["a.b.svc"], NOW_MS - 6 * 60_000, DAY_MS), /^it begins at /);
});

test("the first run tells the API server of the authority and then makes the Secret; the next one leaves both alone", async (t) => {
  const cluster = await apiServer(t);
  t.match(await cluster.provide(), "a new certificate was made: there is none");
  t.same(cluster.asked.splice(0), [
    `GET ${SECRET}`,
    `GET ${CONFIGURATION}`,
    `PATCH ${CONFIGURATION}`,
    `POST ${SECRETS}`,
  ]);
  t.match(cluster.objects.get(SECRET), {
    type: "kubernetes.io/tls",
    metadata: { namespace: "heddle-system" },
  });
  const { ca, cert } = cluster.held();
  t.same(cluster.trusted(), [ca, ca]);
  t.ok(new X509Certificate(cert).checkHost("heddle-webhook.heddle-system.svc"));
  t.same(
    schemaProblems(cluster.objects.get(CONFIGURATION)!).filter((problem) => /unknown/.test(problem)),
    [],
  );
  t.equal(await cluster.provide(NOW_MS + 200 * DAY_MS), "the certificate stays");
  t.same(cluster.asked, [`GET ${SECRET}`, `GET ${CONFIGURATION}`]);
});

test("a certificate that ends soon is renewed, and the old authority stays trusted until the run after that", async (t) => {
  const cluster = await apiServer(t);
  await cluster.provide();
  const old = cluster.held();
  t.match(await cluster.provide(NOW_MS + 300 * DAY_MS), /^a new certificate was made: it ends at /);
  const { ca, cert, key } = cluster.held();
  t.not(cert, old.cert);
  t.not(key, old.key);
  t.same(cluster.trusted(), [ca + old.ca, ca + old.ca]);
  t.match(await cluster.provide(NOW_MS + 307 * DAY_MS), "the certificate stays; its authority was told");
  t.same(cluster.trusted(), [ca, ca]);
});

test("a run right behind a renewal leaves the old authority trusted, as servers may have the old certificate still", async (t) => {
  const cluster = await apiServer(t);
  await cluster.provide();
  const old = cluster.held();
  const renewedMs = NOW_MS + 300 * DAY_MS;
  await cluster.provide(renewedMs);
  const { ca } = cluster.held();
  for (const sinceMs of [0, 60_000, 3_500_000]) {
    t.equal(await cluster.provide(renewedMs + sinceMs), "the certificate stays");
    t.same(cluster.trusted(), [ca + old.ca, ca + old.ca]);
  }
  await cluster.provide(renewedMs + 3_700_000);
  t.same(cluster.trusted(), [ca, ca]);
});

test("a Secret that is half written, edited or of another type is made whole, and nothing of it that cannot be read is trusted", async (t) => {
  const cluster = await apiServer(t);
  await cluster.provide();
  const whole = cluster.objects.get(SECRET)!;
  const data = whole["data"] as Readonly<Record<string, string>>;
  const { ca: oldCa } = cluster.held();
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const cut = oldCa.slice(0, oldCa.length / 2);
  const changes: readonly Fields[] = [
    { data: { ...data, "ca.crt": base64(cut) } },
    { data: { ...data, "ca.crt": base64(`${oldCa}${oldCa.replace(/[A-Z]{3}/, "!!!")}`), "tls.crt": "" } },
    { data: { ...data, "tls.key": base64((await makeCertificate(["a"], NOW_MS, DAY_MS)).key) } },
    { data: { ...data, "tls.key": base64("half of it") } },
    { data: { "tls.crt": data["tls.crt"], "tls.key": data["tls.key"] } },
    { data: null },
    { type: "Opaque", data: {} },
  ];
  for (const [i, change] of changes.entries()) {
    cluster.put(SECRET, { ...whole, ...change });
    t.match(await cluster.provide(NOW_MS + DAY_MS), /^a new certificate was made: /, `${i}`);
    const held = cluster.held();
    const names = ["heddle-webhook.heddle-system.svc"];
    t.equal(whyNot(held, names, NOW_MS + DAY_MS, ORDER.renewWithinMs), undefined, `${i}`);
    t.equal(cluster.objects.get(SECRET)!["type"], change["type"] ?? "kubernetes.io/tls");
    for (const trusted of cluster.trusted())
      t.ok(trusted === held.ca || trusted === held.ca + oldCa, `${i}: ${trusted}`);
    t.match(await cluster.provide(NOW_MS + DAY_MS), /^the certificate stays/, `${i}`);
  }
});

test("a certificate that was made by a clock ahead of all others is made anew", async (t) => {
  const cluster = await apiServer(t);
  await cluster.provide(NOW_MS + 2 * DAY_MS);
  t.match(await cluster.provide(NOW_MS), /^a new certificate was made: it begins at /);
  t.equal(await cluster.provide(NOW_MS), "the certificate stays");
});

test("two runs at once end with one certificate, whose authority is trusted", async (t) => {
  const cluster = await apiServer(t);
  await Promise.all([cluster.provide(), cluster.provide(), cluster.provide()]);
  const { ca } = cluster.held();
  for (const bundle of cluster.trusted()) t.match(bundle, ca);
});

test("a Secret that somebody else has changed meanwhile is looked at again and not overwritten", async (t) => {
  const cluster = await apiServer(t);
  const other = await makeCertificate(
    ["heddle-webhook.heddle-system.svc", "heddle-webhook.heddle-system.svc.cluster.local"],
    NOW_MS,
    ORDER.validMs,
  );
  cluster.put(SECRET, { kind: "Secret", metadata: { name: "heddle-webhook" }, data: { "tls.crt": "" } });
  cluster.hooks.before = ({ method }) => {
    if (method !== "PUT") return;
    delete cluster.hooks.before;
    const base64 = (pem: string) => Buffer.from(pem).toString("base64");
    const data = { "tls.crt": base64(other.cert), "tls.key": base64(other.key), "ca.crt": base64(other.ca) };
    cluster.put(SECRET, { ...cluster.objects.get(SECRET), data });
  };
  t.match(await cluster.provide(), "the certificate stays; its authority was told");
  t.equal(cluster.held().cert, other.cert);
  for (const trusted of cluster.trusted()) t.ok(trusted.startsWith(other.ca));
  await cluster.provide(NOW_MS + DAY_MS);
  t.same(cluster.trusted(), [other.ca, other.ca]);
});

test("what the API server refuses ends the run with its reason", async (t) => {
  const cluster = await apiServer(t);
  const wrong = join(folderFor(t), "token");
  writeFileSync(wrong, "of nobody");
  const access = { ...cluster.access, tokenFile: wrong };
  await t.rejects(provideClusterCertificate(access, {}, ORDER, NOW_MS), {
    message: /answers 401: Unauthorized/,
  });
  cluster.objects.delete(CONFIGURATION);
  await t.rejects(cluster.provide(), { message: /there is no webhook configuration heddle-webhook/ });
  await t.rejects(provideClusterCertificate({}, {}, ORDER, NOW_MS), { message: /KUBERNETES_SERVICE_HOST/ });
});

test("the command takes its order from options, and ends with 2 for one that cannot be meant", async (t) => {
  const cluster = await apiServer(t);
  const { server, tokenFile } = cluster.access;
  const run = (...words: string[]) =>
    main(["webhook-certificate", "--api-server", server, "--token-file", tokenFile, ...words]);
  t.equal(await run("--namespace", "heddle-system", "--valid", "10d", "--renew-within", "2d"), 0);
  const { validTo } = new X509Certificate(cluster.held().cert);
  t.ok(Math.abs(Date.parse(validTo) - Date.now() - 10 * DAY_MS) < 3_600_000, validTo);
  t.equal(await run("--namespace", "elsewhere", "--name", "other"), 1, "there is no such configuration");
  t.equal(await run(), 2, "a namespace is needed");
  t.equal(await run("--namespace", "2048"), 0, "a namespace may begin with a digit");
  t.equal(await run("--namespace", "a", "--name", "2048"), 2, "and a Service may not");
  for (const name of ["A B", "a/b", "-a", "a-", "..", "a".repeat(64)])
    t.equal(await run("--namespace", name), 2, name);
  for (const days of ["0d", "-1d", "1.5d", "100000d", "365", "1y"])
    t.equal(await run("--namespace", "a", `--valid=${days}`), 2, days);
  t.equal(await run("--namespace", "a", "--renew-within", "365d"), 2);
  t.equal(await run("--namespace", "a", "more"), 2);
  t.equal(await run("--namespace", "a", "--valid", "soon"), 2);
  t.equal(await run("--namespace", "a", "--valid", "30d"), 2, "shorter than --renew-within");
});
