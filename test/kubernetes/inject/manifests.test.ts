import { test } from "tap";
import { parse } from "yaml";
import { parseConfig } from "../../../config/index.ts";
import { processManifests, WORKLOAD_KINDS } from "../../../kubernetes/index.ts";
import {
  containerOf,
  type Fields,
  FORMS,
  injected,
  MANIFESTS,
  objectsIn,
  optionsOf,
  podOf,
  uninjected,
} from "../../support/injecting.ts";
import { schemaProblems } from "../../support/kubernetes-schema.ts";

/** Groups that use the words of Kubernetes for things of their own. */
const isOfKubernetes = ({ apiVersion, kind }: Fields) =>
  WORKLOAD_KINDS.includes(String(kind)) && !String(apiVersion).includes("example");

test("there are manifests of every kind of workload, and each form of sidecar comes into most of them", async (t) => {
  t.ok(Object.keys(MANIFESTS).length > 20);
  const kinds = Object.values(MANIFESTS).flatMap((text) => objectsIn(text).map(({ kind }) => kind));
  for (const kind of WORKLOAD_KINDS) t.ok(kinds.includes(kind), kind);
  for (const [form, options] of Object.entries(FORMS)) {
    const changed = Object.values(MANIFESTS).filter((text) => injected(text, options) !== text);
    t.ok(changed.length > 15, `${form}: ${changed.length}`);
  }
});

for (const [form, options] of Object.entries(FORMS)) {
  test(`${form}: what comes out is what Kubernetes takes`, async (t) => {
    for (const [name, text] of Object.entries(MANIFESTS)) {
      const before = objectsIn(text).filter(isOfKubernetes);
      const after = objectsIn(injected(text, options)).filter(isOfKubernetes);
      t.equal(after.length, before.length);
      for (const [i, object] of after.entries())
        t.same(schemaProblems(object), schemaProblems(before[i]!), `${name} ${object["kind"]}`);
    }
  });

  test(`${form}: injecting twice is injecting once, to the byte`, async (t) => {
    for (const [name, text] of Object.entries(MANIFESTS)) {
      const once = injected(text, options);
      t.equal(injected(once, options), once, name);
    }
  });

  test(`${form}: taking the sidecars out gives what went in, to the byte`, async (t) => {
    for (const [name, text] of Object.entries(MANIFESTS))
      t.equal(uninjected(injected(text, options)), text, name);
  });

  test(`${form}: the configuration of every sidecar is one without a fault`, async (t) => {
    let seen = 0;
    for (const [name, text] of Object.entries(MANIFESTS))
      for (const object of objectsIn(injected(text, options))) {
        const sidecar = isOfKubernetes(object) ? containerOf(podOf(object)!, "heddle") : undefined;
        const env = sidecar?.["env"] as { name: string; value: string }[] | undefined;
        const inline = env?.find((variable) => variable.name === "HEDDLE_CONFIG")?.value;
        if (inline === undefined) continue;
        // One that lies over a ConfigMap says nothing of services and upstreams.
        const file = "upstreams: { orders: { endpoints: [127.0.0.1:1] } }";
        const whole = { ...parse(file), ...parse(inline) };
        const environment = { POD_IP: "10.0.0.1", HOST_IP: "10.0.0.2" };
        t.doesNotThrow(() => parseConfig(JSON.stringify(whole), name, environment), name);
        seen++;
      }
    t.ok(seen > 15, `${seen}`);
  });
}

test("one form after another is the last of them, and leads back as well", async (t) => {
  for (const [name, text] of Object.entries(MANIFESTS)) {
    const { native, classic, transparent } = FORMS;
    const through = injected(injected(injected(text, transparent!), classic!), native!);
    t.equal(through, injected(text, native!), name);
    t.equal(uninjected(through), text, name);
  }
});

test("what has no pod, or must not have a sidecar, comes out to the byte, and every line of the rest is still there", async (t) => {
  const { native } = FORMS;
  for (const name of ["only-others.yaml", "nothing.yaml", "windows.yaml", "other-meshes.yaml"])
    t.equal(injected(MANIFESTS[name]!, native!), MANIFESTS[name], name);
  for (const name of [
    "deployment-comments-anchors.yaml",
    "bundle.yaml",
    "long-strings.yaml",
    "crlf.yaml",
    "statefulset-volumes.yaml",
    "init-containers.yaml",
    "cronjob.yaml",
    "list.yaml",
    "old-and-odd.yaml",
    "byte-order-mark.yaml",
  ]) {
    const lines = injected(MANIFESTS[name]!, native!).split("\n");
    let at = 0;
    for (const line of MANIFESTS[name]!.split("\n")) {
      const found = lines.indexOf(line, at);
      t.ok(found >= 0, `${name}: ${line}`);
      at = found + 1;
    }
  }
});

test("new lines end as the others do, and JSON stays JSON", async (t) => {
  t.notMatch(injected(MANIFESTS["crlf.yaml"]!, FORMS["native"]!), /[^\r]\n/);
  for (const name of ["list.json", "pod-compact.json", "pod-tabs.json"])
    for (const options of Object.values(FORMS))
      t.doesNotThrow(() => JSON.parse(injected(MANIFESTS[name]!, options)), name);
});

test("lists are indented as those of the manifest", async (t) => {
  const flush = injected(MANIFESTS["cronjob.yaml"]!, FORMS["native"]!);
  t.match(
    flush,
    /^( +)initContainers:\n\1- name: heddle\n\1 {2}image: heddle:test\n\1 {2}args:\n\1 {2}- run$/m,
  );
  const indented = injected(MANIFESTS["bundle.yaml"]!, FORMS["native"]!);
  t.match(
    indented,
    /^( +)initContainers:\n\1 {2}- name: heddle\n\1 {4}image: heddle:test\n\1 {4}args:\n\1 {6}- run$/m,
  );
});

test("each object is reported, with what was done and why not", async (t) => {
  const reports = (name: string) =>
    processManifests(MANIFESTS[name]!, { inject: optionsOf() }).reports.map((report) =>
      [report.kind, report.name, report.outcome, report.reason]
        .filter((part) => part !== undefined)
        .join(" "),
    );
  t.same(reports("daemonset-host-network.yaml"), [
    "DaemonSet node-agent skipped it uses the network of its node, where the ports of a sidecar would be the node's",
    "DaemonSet log-shipper injected",
  ]);
  t.same(reports("windows.yaml"), [
    "Deployment iis skipped it is for Windows, and the image is for Linux",
    "Pod win skipped it is for Windows, and the image is for Linux",
  ]);
  t.same(reports("other-meshes.yaml"), [
    "Pod in-istio skipped it has the sidecar of another mesh, istio-proxy",
    "Pod own-heddle skipped it has a container or volume heddle that heddle inject has not added",
    "Pod no-token skipped automountServiceAccountToken is false, and without a token the sidecar cannot read EndpointSlices",
    "Pod nothing-to-do skipped there is nothing to do: it declares no port, and no annotation says heddle.dev/port, upstreams or config",
  ]);
  t.same(reports("bundle.yaml"), [
    "Namespace shop untouched",
    "ConfigMap shop untouched",
    "CustomResourceDefinition carts.shop.example untouched",
    "Deployment not-of-kubernetes untouched",
    "Service web untouched",
    "Deployment web injected",
    "Pod web-test-connection skipped disabled by an annotation or a label",
  ]);
  t.same(reports("statefulset-volumes.yaml"), ["StatefulSet bank/ledger injected"]);
  t.same(reports("job.yaml"), ["Job report- injected"]);
  const twice = injected(MANIFESTS["list.yaml"]!, optionsOf());
  const outcomes = (work: Parameters<typeof processManifests>[1]) =>
    processManifests(twice, work).reports.map(({ outcome }) => outcome);
  t.same(outcomes({ inject: optionsOf() }), ["untouched", "already injected", "already injected"]);
  t.same(outcomes({ inject: FORMS["classic"]! }), ["untouched", "injected anew", "injected anew"]);
  t.same(outcomes("uninject"), ["untouched", "uninjected", "uninjected"]);
});

test("a sidecar is taken out of a manifest that was worked on meanwhile, and the work stays", async (t) => {
  const text = MANIFESTS["transparent.yaml"]!;
  const worked = injected(text, optionsOf())
    .replace("image: registry.example/app:1", "image: registry.example/app:2   # newer")
    .replace("kind: Deployment", "# worked on\nkind: Deployment")
    .replace("memory: 512Mi", "memory: 1Gi");
  t.equal(
    uninjected(worked),
    text
      .replace("image: registry.example/app:1", "image: registry.example/app:2   # newer")
      .replace("kind: Deployment", "# worked on\nkind: Deployment"),
  );
});

test("where anchors are shared the document is written anew, says so, and leads back", async (t) => {
  const text = MANIFESTS["merge-keys.yaml"]!;
  const { reports, text: out } = processManifests(text, { inject: optionsOf() });
  t.match(reports[0]?.warnings, [/written anew/]);
  const [pod] = objectsIn(out!);
  t.same((pod!["metadata"] as Fields)["labels"], { team: "shop" }, "what shared an anchor has not changed");
  // The template of two is edited where it stands, and written out where it was an alias.
  const [blue, green] = objectsIn(injected(MANIFESTS["anchors-shared.yaml"]!, optionsOf()));
  t.same(podOf(blue!)!["spec"], podOf(green!)!["spec"]);
});
