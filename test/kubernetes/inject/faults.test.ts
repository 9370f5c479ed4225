import { test } from "tap";
import { processManifests } from "../../../kubernetes/index.ts";
import { optionsOf } from "../../support/injecting.ts";

/** Each with what is said of it. */
function said(text: string): string[] {
  const { faults, text: out } = processManifests(text, { inject: optionsOf() });
  if (faults.length > 0 && out !== undefined)
    throw new Error("something came out although something is wrong");
  return faults.map(
    ({ line, column, document, object, path, message }) =>
      `${line}:${column} ${document} ${object} | ${path} | ${message}`,
  );
}

const annotated = (annotations: string, spec = "") =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    ${annotations}\nspec:\n  containers:\n  - name: app\n    image: a\n    ports: [{name: http, containerPort: 8080}]\n${spec}`;

const AT = 'metadata.annotations["heddle.dev/';

test("an unknown annotation and a wrong value are faults with their place, what was expected and what came", async (t) => {
  const cases: readonly (readonly [annotation: string, column: number, name: string, message: string])[] = [
    ["heddle.dev/upstream: orders", 26, "upstream", "unknown annotation; did you mean heddle.dev/upstreams?"],
    ["heddle.dev/colour: red", 24, "colour", "unknown annotation"],
    ["heddle.dev/inject: maybe", 24, "inject", 'expected enabled or disabled, got "maybe"'],
    [
      "heddle.dev/inject: true",
      24,
      "inject",
      "expected a text, in quotes if it looks like a number, got true",
    ],
    ["heddle.dev/port: 8080", 22, "port", "expected a text, in quotes if it looks like a number, got 8080"],
    [
      'heddle.dev/port: "0"',
      22,
      "port",
      'expected a port from 1 to 65535, or the name of a port of a container, got "0"',
    ],
    [
      "heddle.dev/port: grpc",
      22,
      "port",
      'expected the name of a port that a container declares (http), got "grpc"',
    ],
    [
      "heddle.dev/upstreams: orders:x",
      27,
      "upstreams",
      'expected upstreams between commas, each a name or a name and a port on loopback, such as orders:9190,search, got "orders:x"',
    ],
    [
      "heddle.dev/upstreams: 'a,a'",
      27,
      "upstreams",
      'expected upstreams between commas, each a name or a name and a port on loopback, such as orders:9190,search, got "a,a"',
    ],
    [
      "heddle.dev/memory-limit: lots",
      30,
      "memory-limit",
      'expected a quantity such as 100m, 0.5, 128Mi or 1Gi, got "lots"',
    ],
    [
      "heddle.dev/exclude-outbound-cidrs: 10.0.0.0/33",
      40,
      "exclude-outbound-cidrs",
      'expected networks between commas, such as 10.0.0.0/8,192.168.1.1/32, got "10.0.0.0/33"',
    ],
    [
      "heddle.dev/config: Not/A/ConfigMap",
      24,
      "config",
      'expected the name of a ConfigMap, perhaps with a key as in heddle/heddle.yaml, got "Not/A/ConfigMap"',
    ],
    ['heddle.dev/uid: "0"', 21, "uid", 'expected a user id from 1 to 2147483647, got "0"'],
    ["heddle.dev/status: nonsense", 24, "status", 'expected what heddle inject has written, got "nonsense"'],
  ];
  for (const [annotation, column, name, message] of cases)
    t.same(said(annotated(annotation)), [`6:${column} 1 Pod web | ${AT}${name}"] | ${message}`]);
});

test("ports that two would listen on are faults, wherever the second one is", async (t) => {
  t.same(said(annotated('heddle.dev/inbound-port: "8080"')), [
    "11:41 1 Pod web | spec.containers[0].ports[0].containerPort | expected a port that the sidecar does not need, got 8080, which is heddle.dev/inbound-port; say another one there",
  ]);
  t.same(said(annotated('heddle.dev/upstreams: "orders:15001"')), [
    "6:5 1 Pod web | metadata.annotations | expected a port for each, got 15001 for heddle.dev/outbound-port and for the upstream orders",
  ]);
  t.same(said(annotated('heddle.dev/port: "15021"')), [
    "6:5 1 Pod web | metadata.annotations | expected the port of the app, got 15021, which is heddle.dev/health-port",
  ]);
});

test("an app that runs as the sidecar's user would not be redirected, which is a fault", async (t) => {
  t.same(said(annotated("heddle.dev/mode: transparent", "  securityContext: {runAsUser: 10001}\n")), [
    "12:32 1 Pod web | spec.securityContext.runAsUser | expected another user than that of the sidecar, whose traffic is not redirected, got 10001; heddle.dev/uid changes the sidecar's",
  ]);
});

test("an annotation of heddle's that no pod would get is a fault", async (t) => {
  const text =
    "# one\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {heddle.dev/port: '80'}}\nspec: {template: {spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}}}\n";
  t.same(said(text), [
    '5:54 1 Deployment web | metadata.annotations["heddle.dev/port"] | expected it among the annotations of the pod template, where pods get it',
  ]);
});

test("what is no pod where one has to be is a fault, and so is what is no YAML", async (t) => {
  const deployment = (spec: string) =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: ${spec}\n`;
  t.same(said(deployment("{}")), ["4:7 1 Deployment web | spec.template | expected a mapping, got nothing"]);
  t.same(said(deployment("{template: {spec: {containers: []}}}")), [
    "4:38 1 Deployment web | spec.template.spec.containers | expected a list of containers, got []",
  ]);
  t.same(said(deployment("{template: {metadata: x, spec: {containers: [{name: a}]}}}")), [
    '4:29 1 Deployment web | spec.template.metadata | expected a mapping, got "x"',
  ]);
  t.same(said("a: b\n---\nkind: {{ .Values.kind }}\nname: [\n").length, 1);
  t.match(said("a: b\n---\nkind: [\n"), [/^4:1 2 {2}\| {2}\| expected YAML, got: /]);
  t.match(said("a: *b\n"), [/^1:\d 1 {2}\| {2}\| expected YAML, got: Unresolved alias .*b/]);
  t.match(said("a: 1\na: 2\n"), [/expected YAML, got: Map keys must be unique/]);
});

test("annotations that make a faulty configuration are a fault now and not when the pod starts", async (t) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference that no pod can resolve is what is tested
  t.match(said(annotated('heddle.dev/service-meta: "a=${b}"')), [
    /expected annotations that make a configuration without a fault, got one with: .*environment variable b/,
  ]);
});

test("all faults of a text are told at once, and nothing comes out", async (t) => {
  const text = `${annotated("heddle.dev/prot: '1'")}---\n${annotated("heddle.dev/uid: x")}`;
  t.same(
    said(text).map((line) => line.split(" ", 2).join(" ")),
    ["6:22 1", "18:21 2"],
  );
});
