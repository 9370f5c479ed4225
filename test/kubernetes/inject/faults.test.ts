import { spawnSync } from "node:child_process";
import { test } from "tap";
import { injectPod, processManifests } from "../../../kubernetes/index.ts";
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

test("whether a pod takes part is said by annotation or label alike, and declining wins, whatever else is wrong", async (t) => {
  const outcomeOf = (annotations: object, labels: object) => {
    const metadata = { annotations, labels };
    const pod = { metadata, spec: { containers: [{ name: "app", ports: [{ containerPort: 8080 }] }] } };
    const template = { metadata: { ...metadata, labels: { app: "a", ...labels } }, spec: pod.spec };
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "a" },
      spec: { template },
    };
    const { reports, faults } = processManifests(JSON.stringify(deployment), { inject: optionsOf() });
    return faults.length > 0
      ? faults.map(({ path, message }) => `${path} | ${message}`)
      : reports[0]!.outcome;
  };
  const say = (word: unknown) => ({ "heddle.dev/inject": word });
  t.equal(outcomeOf({}, {}), "injected");
  t.equal(outcomeOf({}, say("enabled")), "injected");
  t.equal(outcomeOf({}, say("disabled")), "skipped");
  t.equal(outcomeOf(say("disabled"), say("enabled")), "skipped");
  t.equal(outcomeOf(say("enabled"), say("disabled")), "skipped");
  t.equal(outcomeOf({ "heddle.dev/nonsense": "1", "heddle.dev/status": "{" }, say("disabled")), "skipped");
  const consul = { "consul.hashicorp.com/connect-inject": "false" };
  t.equal(outcomeOf(consul, {}), "skipped");
  t.equal(outcomeOf(consul, say("enabled")), "injected", "heddle's own word goes before Consul's");
  for (const word of ["yes", true, 1])
    t.same(outcomeOf({}, say(word)), [
      `spec.template.metadata.labels["heddle.dev/inject"] | expected enabled or disabled, got ${JSON.stringify(word)}`,
    ]);
});

test("no message repeats more of what came than helps, wherever it came in", async (t) => {
  const long = "x".repeat(100_000);
  const pod = (annotations: object, spec: object = {}, more: object = {}) => ({
    metadata: { annotations, ...more },
    spec: { containers: [{ name: "app", ports: [{ name: "http", containerPort: 8080 }] }], ...spec },
  });
  const own = (name: string, value: unknown = long) => pod({ [`heddle.dev/${name}`]: value });
  const consul = (name: string, value = long) => pod({ [`consul.hashicorp.com/${name}`]: value });
  const pods: readonly unknown[] = [
    long,
    { spec: long },
    { spec: { containers: long } },
    { spec: { containers: [{}] }, metadata: long },
    pod([long]),
    ...["port", "upstreams", "image", "config", "inject", "status", "mode", "grace"].map((name) => own(name)),
    own("port", [long]),
    own("port", "none-such"),
    own("upstreams", `${long}:9000,y:9000`),
    own("upstreams", long.slice(0, 3) + "-".repeat(1_000)),
    own("grace", `${"9".repeat(100_000)}s`),
    pod({ "heddle.dev/mode": "transparent", "heddle.dev/image": `a@${long}` }),
    pod({ "heddle.dev/mode": "transparent", "heddle.dev/redirect-image": long }),
    pod({}, {}, { labels: { "heddle.dev/inject": long } }),
    pod({}, {}, { labels: { app: `${long}!` } }),
    pod(
      {},
      {
        containers: [
          {
            name: long,
            ports: [{ containerPort: 80, protocol: "UDP" }, { containerPort: 8080 }],
            readinessProbe: { httpGet: { port: long } },
          },
        ],
      },
    ),
    pod(
      { "heddle.dev/rewrite-probes": "enabled" },
      {
        containers: [
          { name: long, ports: [{ containerPort: 8080 }], readinessProbe: { httpGet: { port: long } } },
        ],
      },
    ),
    pod(
      { "heddle.dev/port": "none-such" },
      { containers: [{ name: "app", ports: [{ name: long, containerPort: 8080 }] }] },
    ),
    consul("connect-service-upstreams"),
    consul("connect-service-port"),
    consul("transparent-proxy"),
    consul("connect-service", `a,${long}`),
    consul("connect-service", `${long},a`),
    consul(long),
  ];
  for (const [i, one] of pods.entries()) {
    const outcome = injectPod(one, optionsOf());
    const texts =
      outcome.outcome === "faulty"
        ? outcome.faults.map(({ message }) => message)
        : outcome.outcome === "skipped"
          ? [outcome.reason, ...outcome.warnings]
          : outcome.warnings;
    t.ok(outcome.outcome === "injected" || texts.length > 0, `${i}: ${outcome.outcome}`);
    for (const text of texts) t.ok(text.length < 500, `${i}: ${text.length} ${text.slice(0, 200)}`);
  }
});

test("a configuration that no environment could hold is a fault, and the longest that one can hold is not", async (t) => {
  const podOf = (tags: string) => ({
    metadata: { annotations: { "heddle.dev/service-tags": tags } },
    spec: { containers: [{ name: "app", ports: [{ containerPort: 8080 }] }] },
  });
  const configurationOf = (tags: string) => {
    const outcome = injectPod(podOf(tags), optionsOf({ service: "web" }));
    if (outcome.outcome !== "injected") return outcome;
    const [sidecar] = (
      outcome.pod["spec"] as { initContainers: { env: { name: string; value: string }[] }[] }
    ).initContainers;
    return sidecar!.env.find(({ name }) => name === "HEDDLE_CONFIG")!.value;
  };
  const starts = (value: string) =>
    spawnSync("/bin/true", [], { env: { HEDDLE_CONFIG: value } }).error?.message ?? "it starts";
  const short = configurationOf("x");
  if (typeof short !== "string") throw new Error(short.outcome);
  const room = 128 * 1024 - "HEDDLE_CONFIG=\0".length - short.length;
  const longest = configurationOf("x".repeat(room + 1));
  if (typeof longest !== "string") throw new Error(longest.outcome);
  t.equal(starts(longest), "it starts");
  t.match(starts(`${longest}x`), /E2BIG/);
  t.match(configurationOf("x".repeat(room + 2)), {
    outcome: "faulty",
    faults: [{ message: /configuration of at most 131072 bytes, .* got 131073$/ }],
  });
});
