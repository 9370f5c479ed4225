import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "tap";
import { clusterAccess } from "../../discovery/kubernetes/cluster-access.ts";
import { KubernetesApiServer, selfSigned, slice } from "../support/kubernetes-api.ts";
import { followed } from "../support/kubernetes-follower.ts";

test("in a cluster the server and the files are those that every pod is given", async (t) => {
  const folder = t.testdir({ namespace: "shop\n" });
  const inCluster = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "6443" };
  t.same(clusterAccess({}, inCluster, folder), {
    server: "https://10.96.0.1:6443",
    tokenFile: `${folder}/token`,
    caFile: `${folder}/ca.crt`,
    namespace: "shop",
  });
  t.match(clusterAccess({ namespace: "x" }, { KUBERNETES_SERVICE_HOST: "fd00::1" }), {
    server: "https://[fd00::1]",
    tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
    namespace: "x",
  });
  t.same(clusterAccess({ server: "http://127.0.0.1:8001/", namespace: "x" }, inCluster), {
    server: "http://127.0.0.1:8001",
    tokenFile: undefined,
    caFile: undefined,
    namespace: "x",
  });
});

test("what is missing to reach the cluster is said", async (t) => {
  const folder = t.testdir({ namespace: "\n" });
  const host = { KUBERNETES_SERVICE_HOST: "10.96.0.1" };
  t.throws(() => clusterAccess({}, {}), /KUBERNETES_SERVICE_HOST is not set, so this is not a pod/);
  t.throws(() => clusterAccess({}, { ...host, KUBERNETES_SERVICE_PORT: "tcp" }), /make no URL/);
  t.throws(() => clusterAccess({}, host, "/nowhere"), /there is none in \/nowhere\/namespace/);
  t.throws(() => clusterAccess({}, host, folder), /namespace is empty/);
  t.throws(() => clusterAccess({ server: "10.0.0.1:6443" }, {}), /begins with https/);
  t.throws(() => clusterAccess({ server: "https://user:pw@10.0.0.1" }, {}), /no user/);
  const insecure = { server: "http://10.0.0.1", tokenFile: "token", namespace: "x" };
  t.throws(() => clusterAccess(insecure, {}), /could read the token/);
});

test("a Role that is missing is named, and asked for again", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  server.forbidden = ["list"];
  const { heard } = await followed(t, { server });
  await heard.silenced(3);
  t.equal(
    heard.silences[0],
    "system:x:app may not list endpointslices in namespace shop: " +
      "needs a Role with get, list, watch on endpointslices in discovery.k8s.io",
  );
  server.forbidden = ["watch"];
  await heard.listed(1);
  const silences = heard.silences.length;
  await heard.silenced(silences + 2);
  t.match(heard.silences.at(-1), /needs a Role with get, list, watch/);
  server.forbidden = [];
  const lists = heard.lists.length;
  await heard.listed(lists + 1);
  t.equal(heard.addresses?.length, 0);
});

test("a token that has been replaced is read before the next request", async (t) => {
  const tokenFile = join(t.testdir({ token: "first\n" }), "token");
  const server = await new KubernetesApiServer().start(t);
  server.tokens = ["first"];
  const { heard, watched } = await followed(t, { server, tokenFile });
  await watched(1);
  writeFileSync(tokenFile, "second");
  server.tokens = ["second"];
  server.endWatches();
  await watched(2);
  t.equal(server.asked.at(-1)!.authorization, "Bearer second");
  const replace = ({ authorization }: { authorization: string | undefined }) => {
    if (authorization !== "Bearer second") return;
    writeFileSync(tokenFile, "third");
    server.tokens = ["third"];
  };
  server.on("asked", replace);
  server.endWatches();
  await watched(4);
  t.equal(server.asked.at(-1)!.authorization, "Bearer third", "also when it was read just before");
  t.same([server.count("list"), heard.silences], [1, []]);
});

test("a token that is refused or cannot be read is said, and never shown", async (t) => {
  const folder = t.testdir({});
  const tokenFile = join(folder, "token");
  const { server, heard } = await followed(t, { tokenFile });
  await heard.silenced(1);
  t.match(heard.silences[0], /the token cannot be read: ENOENT/);
  for (const [token, why] of [
    ["", /is empty/],
    ["secret", /answers 401: Unauthorized: the token is missing, has expired/],
    ["secret\u0001", /Invalid character in header content/],
  ] as const) {
    server.tokens = ["good"];
    writeFileSync(tokenFile, token);
    await heard.until(() => why.test(heard.silences.at(-1)!));
  }
  writeFileSync(tokenFile, "good");
  const lists = heard.lists.length;
  await heard.listed(lists + 1);
  t.notMatch(heard.silences.join(), "secret");
});

test("over TLS the server must be vouched for by the certificates of the file", async (t) => {
  const folder = t.testdir({ other: {} });
  const tls = selfSigned(folder);
  const other = selfSigned(join(folder, "other"));
  if (tls === undefined || other === undefined) {
    t.plan(0, "there is no openssl here");
    return;
  }
  const server = await new KubernetesApiServer(tls).start(t);
  server.put(slice("orders-a", ["10.0.0.1"]));
  const caFile = join(folder, "ca.crt");
  writeFileSync(caFile, other.cert);
  const { heard, watched } = await followed(t, { server, caFile });
  await heard.silenced(1);
  t.match(heard.silences[0], /certificate/);
  t.equal(server.asked.length, 0, "nothing is sent to a server that is not trusted");
  writeFileSync(caFile, tls.cert);
  await watched(1);
  t.same(heard.addresses, ["10.0.0.1"], "and a new file is heeded");
});
