import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "tap";
import { COMMANDS } from "../../../cli/commands.ts";
import {
  CHART,
  chartValues,
  MANIFESTS_FOLDER,
  manifestTexts,
  NAMESPACE,
  rendered,
  renderedChart,
} from "../../support/chart.ts";
import { type Fields, objectsIn, podOf } from "../../support/injecting.ts";
import { schemaProblems } from "../../support/kubernetes-schema.ts";

/** An object whose fields are looked into without a word on their types. */
// biome-ignore lint/suspicious/noExplicitAny: the schema of each is checked
type Loose = Record<string, any>;

const read = (name: string) => readFileSync(join(MANIFESTS_FOLDER, name), "utf8");
const NAMES = readdirSync(MANIFESTS_FOLDER);
const OBJECTS = NAMES.flatMap((name) => objectsIn(read(name)));

/** All objects that the chart gives with some values changed. */
function charted(changes: Fields = {}, namespace = NAMESPACE): Fields[] {
  return [...renderedChart({ ...chartValues(), ...changes }, namespace).values()].flatMap(objectsIn);
}

const named = (objects: readonly Fields[], kind: string) =>
  objects.filter((object) => object["kind"] === kind) as Loose[];

test("the manifests are what the chart gives with its own values; `npm run manifests` renews them", async (t) => {
  const texts = manifestTexts();
  t.same(NAMES.toSorted(), ["00-namespace.yaml", ...texts.keys()]);
  for (const [name, text] of texts) t.equal(read(name), text, name);
});

test("every object is one that Kubernetes takes, whatever is chosen", async (t) => {
  const certificate = (from: string) => ({
    ...(chartValues()["certificate"] as Fields),
    from,
    caBundle: "QUJD",
  });
  const sidecar = { image: "a:1", config: "mesh", discovery: "kubernetes", logLevel: "warn" };
  const choices: readonly Fields[] = [
    {},
    { inject: "all", failurePolicy: "Fail", replicas: 1, priorityClassName: "high" },
    { certificate: certificate("given"), sidecar: { ...sidecar, classic: true, transparent: true } },
    { certificate: certificate("cert-manager"), imagePullSecrets: [{ name: "registry" }] },
  ];
  // Words that are no texts in YAML, and still names.
  const odd = charted({ image: "1337", priorityClassName: "null", excludedNamespaces: [] }, "1e3");
  for (const object of [...OBJECTS, ...choices.flatMap((choice) => charted(choice)), ...odd])
    if (!String(object["apiVersion"]).startsWith("cert-manager.io/"))
      t.same(schemaProblems(object), [], `${object["kind"]}`);
  t.equal(named(charted({ certificate: certificate("cert-manager") }), "Certificate").length, 1);
  for (const from of ["given", "cert-manager"])
    t.same(named(charted({ certificate: certificate(from) }), "Job"), [], from);
});

test("every value of the chart is in its schema and used, and no other", async (t) => {
  const schema = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8"));
  const templates = readdirSync(join(CHART, "templates"))
    .map((name) => readFileSync(join(CHART, "templates", name), "utf8"))
    .join("");
  const used = new Set([...templates.matchAll(/\.Values\.([\w.]+)/g)].map((match) => match[1]!));
  const paths = Object.entries(chartValues()).flatMap(([key, value]) =>
    (key === "sidecar" || key === "certificate") && typeof value === "object"
      ? Object.keys(value!).map((inner) => `${key}.${inner}`)
      : [key],
  );
  const inSchema = Object.entries(
    schema.properties as Readonly<Record<string, { readonly properties?: Fields }>>,
  ).flatMap(([key, { properties }]) =>
    properties === undefined ? [key] : Object.keys(properties).map((inner) => `${key}.${inner}`),
  );
  t.same([...used].toSorted(), paths.toSorted());
  // Helm hands it to every chart.
  t.same(inSchema.filter((path) => path !== "global").toSorted(), paths.toSorted());
  t.throws(() => rendered('{{ include "a" . }}', {}), { message: /known part/ });
});

test("an authority is written where it is given, and left to whoever makes it otherwise", async (t) => {
  const bundles = (from: string, caBundle: string) =>
    named(
      charted({ certificate: { ...(chartValues()["certificate"] as Fields), from, caBundle } }),
      "MutatingWebhookConfiguration",
    )[0]!["webhooks"].map(({ clientConfig }: Loose) => clientConfig.caBundle);
  t.same(bundles("given", "1234"), ["1234", "1234"]);
  for (const from of ["job", "cert-manager"])
    t.same(bundles(from, "1234"), [undefined, undefined], "an upgrade would write it over that of the Job");
});

test("where no namespace is excluded, that of the webhook is still, and there is no empty list", async (t) => {
  for (const { namespaceSelector } of named(
    charted({ excludedNamespaces: [] }),
    "MutatingWebhookConfiguration",
  )[0]!["webhooks"]) {
    const lists = namespaceSelector.matchExpressions.map(({ values }: Loose) => values);
    // The API server refuses a configuration with an empty one.
    for (const values of lists) t.ok(values.length > 0);
    t.same(lists[0], [NAMESPACE]);
  }
});

test("the schema of the chart takes only words that the commands take, and that stand in a line of YAML as they are", async (t) => {
  const { properties } = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8"));
  const takes = (path: string, word: string) => {
    const [key = "", inner] = path.split(".");
    const { pattern } = inner === undefined ? properties[key] : properties[key].properties[inner];
    return new RegExp(pattern, "u").test(word);
  };
  const words: Readonly<Record<string, readonly [taken: readonly string[], refused: readonly string[]]>> = {
    image: [
      ["heddle:0.1.0", "r.example:5000/a/heddle@sha256:0f"],
      ["", "a b", "a: b", "a #b", "-a", "a\n"],
    ],
    linger: [
      ["5s", "500ms", "19.5s"],
      ["", "20s", "1m", "5", "99999ms"],
    ],
    "sidecar.image": [
      ["", "heddle:1"],
      ["a b", "a\nb"],
    ],
    "sidecar.config": [
      ["", "mesh", "mesh/heddle.yaml"],
      ["a/b/c", "a: b", "A", "a b"],
    ],
    "certificate.valid": [
      ["365d", "1d"],
      ["0d", "365", "1y", "100000d"],
    ],
    "certificate.renewWithin": [["90d"], ["0d", ""]],
    "certificate.caBundle": [
      ["", "QUJD", "QUI="],
      ["-----BEGIN CERTIFICATE-----", "a b"],
    ],
  };
  for (const [path, [taken, refused]] of Object.entries(words)) {
    for (const word of taken) t.ok(takes(path, word), `${path}: ${word}`);
    for (const word of refused) t.notOk(takes(path, word), `${path}: ${word}`);
  }
  t.match(properties.certificate.if, { properties: { from: { const: "given" } } });
  t.match(properties.certificate.then, {
    required: ["caBundle"],
    properties: { caBundle: { minLength: 1 } },
  });
});

test("the API server is told to leave the cluster's own pods and those of the webhook alone, and to do without it", async (t) => {
  const [configuration] = named(OBJECTS, "MutatingWebhookConfiguration");
  t.equal(configuration!["webhooks"].length, 2);
  for (const webhook of configuration!["webhooks"]) {
    const names = webhook.namespaceSelector.matchExpressions
      .filter(({ key }: Loose) => key === "kubernetes.io/metadata.name")
      .flatMap(({ operator, values }: Loose) => (operator === "NotIn" ? values : []));
    t.same(names, ["kube-system", "kube-public", "kube-node-lease", NAMESPACE]);
    t.match(webhook, { failurePolicy: "Ignore", sideEffects: "None", timeoutSeconds: 5 });
    t.same(webhook.clientConfig, {
      service: { namespace: NAMESPACE, name: "heddle-webhook", path: "/inject", port: 443 },
    });
    t.match(webhook.rules, [{ operations: ["CREATE"], resources: ["pods"] }]);
  }
  const [everywhere, ...others] = named(charted({ inject: "all" }), "MutatingWebhookConfiguration")[0]![
    "webhooks"
  ];
  t.same(others, []);
  t.match(everywhere.namespaceSelector.matchExpressions.at(-1), { operator: "NotIn", values: ["disabled"] });
});

test("names fit together, pods meet the restricted standard, and commands have the options they are given", async (t) => {
  const [deployment] = named(OBJECTS, "Deployment");
  const [service] = named(OBJECTS, "Service");
  const [budget] = named(OBJECTS, "PodDisruptionBudget");
  const labels = deployment!["spec"].template.metadata.labels;
  t.match(labels, deployment!["spec"].selector.matchLabels);
  t.match(labels, service!["spec"].selector);
  t.match(labels, budget!["spec"].selector.matchLabels);
  t.equal(deployment!["spec"].replicas, 2);
  const accounts = named(OBJECTS, "ServiceAccount").map(({ metadata }) => metadata.name);
  const workloads = OBJECTS.filter((object) => podOf(object) !== undefined);
  t.equal(workloads.length, 3);
  for (const object of workloads) {
    const { spec, metadata } = podOf(object) as Loose;
    t.ok(accounts.includes(spec.serviceAccountName), spec.serviceAccountName);
    t.match(spec.securityContext, { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
    t.equal(metadata.labels["heddle.dev/inject"], "disabled");
    for (const { args, securityContext } of spec.containers) {
      t.match(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      const [command, ...options] = args as string[];
      const known = COMMANDS[command!];
      t.ok(known, command!);
      for (const option of options) t.ok(option.slice(2).split("=")[0]! in known!.options, option);
    }
  }
});

test("whoever renews the certificate may touch one Secret and one webhook configuration", async (t) => {
  const rules = [...named(OBJECTS, "Role"), ...named(OBJECTS, "ClusterRole")].flatMap(({ rules }) => rules);
  t.same(
    rules.map(({ resources, resourceNames, verbs }: Fields) => [resources, resourceNames, verbs]),
    [
      [["secrets"], ["heddle-webhook"], ["get", "update"]],
      [["secrets"], undefined, ["create"]],
      [["mutatingwebhookconfigurations"], ["heddle-webhook"], ["get", "patch"]],
    ],
  );
});
