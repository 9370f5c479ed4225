import { test } from "tap";
import { parse } from "yaml";
import { injectPod, injectReview, type PodOutcome, uninjectPod } from "../../../kubernetes/index.ts";
import {
  containerOf,
  type Fields,
  injected,
  MANIFESTS,
  objectsIn,
  optionsOf,
  podOf,
} from "../../support/injecting.ts";

const APP = { name: "app", image: "a", ports: [{ name: "http", containerPort: 8080 }] };

function podWith(annotations: Readonly<Record<string, string>>, spec: Fields = {}): Fields {
  return { metadata: { name: "web", annotations }, spec: { containers: [APP], ...spec } };
}

function podFrom(outcome: PodOutcome): Fields {
  if (outcome.outcome !== "injected") throw new Error(JSON.stringify(outcome));
  return outcome.pod;
}

const sidecarOf = (pod: Fields) => containerOf(pod, "heddle")!;
const names = (pod: Fields, list: string) =>
  ((pod["spec"] as Fields)[list] as Fields[] | undefined)?.map(({ name }) => name);
const configOf = (pod: Fields) => {
  const env = sidecarOf(pod)["env"] as { name: string; value: string }[];
  return parse(env.find(({ name }) => name === "HEDDLE_CONFIG")!.value);
};

test("a native sidecar holds back what comes behind it by its startup probe, and is asked on a port that shows and changes nothing", async (t) => {
  const pod = podFrom(
    injectPod(podWith({}, { initContainers: [{ name: "setup", image: "a" }] }), optionsOf()),
  );
  t.same(names(pod, "initContainers"), ["heddle", "setup"], "in front, so that they have the mesh");
  const sidecar = sidecarOf(pod);
  t.equal(sidecar["restartPolicy"], "Always");
  t.match(sidecar["startupProbe"], { httpGet: { path: "/ready", port: 15_021 }, periodSeconds: 1 });
  t.match(sidecar["readinessProbe"], { httpGet: { path: "/ready", port: 15_021 } });
  t.match(sidecar["livenessProbe"], { httpGet: { path: "/live", port: 15_021 } });
  t.match(sidecar["lifecycle"], { preStop: { exec: { command: ["/usr/bin/heddle", "leave"] } } });
  t.equal(configOf(pod).admin.listen, "127.0.0.1:15000");
  t.equal(configOf(pod).health.listen, "0.0.0.0:15021");
  const last = podFrom(
    injectPod(
      podWith({ "heddle.dev/position": "last" }, { initContainers: [{ name: "setup" }] }),
      optionsOf(),
    ),
  );
  t.same(names(last, "initContainers"), ["setup", "heddle"]);
});

test("a classic sidecar is the first container, holds the others back by its hook, and waits for the app at the end", async (t) => {
  const outcome = injectPod(podWith({ "heddle.dev/sidecar": "classic" }), optionsOf(), { kind: "Job" });
  const pod = podFrom(outcome);
  t.same(names(pod, "containers"), ["heddle", "app"]);
  t.equal(names(pod, "initContainers"), undefined);
  const { lifecycle, restartPolicy, startupProbe } = sidecarOf(pod);
  t.equal(restartPolicy, undefined);
  t.equal(startupProbe, undefined);
  t.match(lifecycle, {
    postStart: {
      exec: { command: ["/usr/bin/heddle", "ready", "--admin", "127.0.0.1:15000", "--within"] },
    },
    preStop: {
      exec: { command: [...Array(4).fill(String), "--wait", "15s", "--until-closed", "127.0.0.1:8080"] },
    },
  });
  t.match(pod, { metadata: { annotations: { "kubectl.kubernetes.io/default-container": "app" } } });
  t.match(outcome, { warnings: [/keeps the Job from completing/] });
});

/** What the restricted Pod Security Standard asks of a container (Kubernetes, "Pod Security Standards"). */
function isRestricted({ securityContext, ports = [] }: Fields): boolean {
  const context = securityContext as Record<string, unknown> & {
    capabilities?: { drop?: string[]; add?: string[] };
    seccompProfile?: { type?: string };
  };
  return (
    context["runAsNonRoot"] === true &&
    context["runAsUser"] !== 0 &&
    context["allowPrivilegeEscalation"] === false &&
    context["privileged"] !== true &&
    context.capabilities?.drop?.includes("ALL") === true &&
    (context.capabilities.add ?? []).every((capability) => capability === "NET_BIND_SERVICE") &&
    context.seccompProfile?.type === "RuntimeDefault" &&
    (ports as Fields[]).every(({ hostPort }) => hostPort === undefined)
  );
}

test("in explicit mode a pod stays one that the restricted Pod Security Standard admits; in transparent mode only redirection is not", async (t) => {
  for (const sidecar of ["native", "classic"] as const) {
    const pod = podFrom(injectPod(podWith({}), optionsOf({ sidecar, config: "mesh" })));
    t.ok(isRestricted(sidecarOf(pod)), sidecar);
    t.equal((sidecarOf(pod)["securityContext"] as Fields)["readOnlyRootFilesystem"], true);
    t.match((pod["spec"] as Fields)["volumes"] as object, [
      { name: "heddle-config", configMap: { name: "mesh" } },
    ]);
  }
  const pod = podFrom(injectPod(podWith({}), optionsOf({ mode: "transparent" })));
  t.ok(isRestricted(sidecarOf(pod)));
  const redirect = containerOf(pod, "heddle-redirect")!;
  t.notOk(isRestricted(redirect));
  t.match(redirect["securityContext"], { capabilities: { add: ["NET_ADMIN", "NET_RAW"], drop: ["ALL"] } });
  t.same(names(pod, "initContainers"), ["heddle-redirect", "heddle"]);
});

test("redirection has an image of its own, as that of the sidecar has no shell: by its tag, or by an annotation", async (t) => {
  const redirectImage = (annotations: Readonly<Record<string, string>>) => {
    const pod = podFrom(injectPod(podWith(annotations), optionsOf({ mode: "transparent" })));
    return containerOf(pod, "heddle-redirect")!["image"];
  };
  t.equal(redirectImage({ "heddle.dev/image": "heddle:1.0" }), "heddle:1.0-redirect");
  t.equal(
    redirectImage({ "heddle.dev/image": "registry:5000/heddle" }),
    "registry:5000/heddle:latest-redirect",
  );
  const digest = `heddle@sha256:${"a".repeat(64)}`;
  t.equal(redirectImage({ "heddle.dev/image": digest, "heddle.dev/redirect-image": "other:2" }), "other:2");
  t.match(injectPod(podWith({ "heddle.dev/image": digest }), optionsOf({ mode: "transparent" })), {
    faults: [{ message: /^expected heddle\.dev\/redirect-image beside the image heddle@sha256:a+: / }],
  });
  t.match(injectPod(podWith({ "heddle.dev/image": digest }), optionsOf()), { outcome: "injected" });
});

test("annotations say what the sidecar is like", async (t) => {
  const pod = podFrom(
    injectPod(
      podWith({
        "heddle.dev/service": "shop",
        "heddle.dev/port": "http",
        "heddle.dev/upstreams": " orders:9190, search ",
        "heddle.dev/consul-address": "http://consul.consul:8500",
        "heddle.dev/service-tags": "v1, blue",
        "heddle.dev/service-meta": "version=1,team=a=b",
        "heddle.dev/cpu-request": "50m",
        "heddle.dev/cpu-limit": "1",
        "heddle.dev/memory-request": "64Mi",
        "heddle.dev/memory-limit": "256Mi",
        "heddle.dev/image": "registry.example/heddle:2",
        "heddle.dev/image-pull-policy": "Always",
        "heddle.dev/log-level": "warn",
        "heddle.dev/uid": "2000",
        "heddle.dev/inbound-port": "20006",
        "heddle.dev/outbound-port": "20001",
        "heddle.dev/admin-port": "20000",
        "heddle.dev/health-port": "20021",
      }),
      optionsOf(),
    ),
  );
  t.same(configOf(pod), {
    service: {
      name: "shop",
      port: 8080,
      // biome-ignore lint/suspicious/noTemplateCurlyInString: heddle fills it in, in the pod
      advertise: "${POD_IP}",
      tags: ["v1", "blue"],
      meta: { version: "1", team: "a=b" },
    },
    inbound: { listen: "0.0.0.0:20006" },
    outbound: { listen: "127.0.0.1:20001" },
    admin: { listen: "127.0.0.1:20000" },
    health: { listen: "0.0.0.0:20021" },
    discovery: { consul: { address: "http://consul.consul:8500" } },
    upstreams: { orders: { localPort: 9190 }, search: {} },
    telemetry: { logLevel: "warn" },
    shutdown: { grace: "25s" },
  });
  t.match(sidecarOf(pod), {
    image: "registry.example/heddle:2",
    imagePullPolicy: "Always",
    resources: { requests: { cpu: "50m", memory: "64Mi" }, limits: { cpu: "1", memory: "256Mi" } },
    securityContext: { runAsUser: 2000 },
    ports: [{ containerPort: 20_006 }, { containerPort: 20_021 }],
  });
  const kubernetes = optionsOf({ discovery: "kubernetes", upstreams: "orders:9190,stock.warehouse" });
  const { upstreams, discovery } = configOf(podFrom(injectPod(podWith({}), kubernetes)));
  t.equal(discovery, undefined);
  t.same(upstreams, {
    orders: { localPort: 9190, from: [{ kubernetes: { service: "orders" } }] },
    "stock.warehouse": { from: [{ kubernetes: { service: "stock", namespace: "warehouse" } }] },
  });
});

test("the service has the name of its label, of its workload, or of the pod without what is generated", async (t) => {
  const named = (metadata: Fields, workload?: string) =>
    configOf(podFrom(injectPod({ metadata, spec: { containers: [APP] } }, optionsOf(), { workload }))).service
      .name;
  t.equal(named({ labels: { "app.kubernetes.io/name": "a", app: "b" } }, "c"), "a");
  t.equal(named({ labels: { app: "b" } }, "c"), "b");
  t.equal(named({}, "c"), "c");
  t.equal(named({ name: "d" }), "d");
  t.equal(named({ generateName: "web-7c9d4b8f6-", labels: { "pod-template-hash": "7c9d4b8f6" } }), "web");
});

test("the grace ends before the kubelet kills", async (t) => {
  const graceOf = (spec: Fields, annotations = {}) => {
    const outcome = injectPod(podWith(annotations, spec), optionsOf());
    return [configOf(podFrom(outcome)).shutdown.grace, "warnings" in outcome ? outcome.warnings.length : -1];
  };
  t.same(graceOf({}), ["25s", 0]);
  t.same(graceOf({ terminationGracePeriodSeconds: 90 }), ["85s", 0]);
  t.same(graceOf({ terminationGracePeriodSeconds: 2 }), ["1s", 0]);
  t.same(graceOf({ terminationGracePeriodSeconds: 20 }, { "heddle.dev/grace": "30s" }), ["30s", 1]);
});

test("in transparent mode the probes that the sidecar can ask go through its health port, and the others stay", async (t) => {
  const [object] = objectsIn(
    injected(MANIFESTS["probes-of-all-kinds.yaml"]!, optionsOf({ mode: "transparent" })),
  );
  const pod = podOf(object!)!;
  const through = (path: string, rest: Fields = {}) => ({
    httpGet: { path: `/app-health/${path}`, port: 15_021 },
    ...rest,
  });
  t.match(containerOf(pod, "http"), {
    startupProbe: through("http/startup", { failureThreshold: 30 }),
    livenessProbe: through("http/liveness", { timeoutSeconds: 2 }),
    readinessProbe: through("http/readiness"),
  });
  t.same(containerOf(pod, "grpc")!["readinessProbe"], through("grpc/readiness"));
  t.same(containerOf(pod, "tcp")!["readinessProbe"], through("tcp/readiness", { periodSeconds: 20 }));
  t.same(containerOf(pod, "helper")!["startupProbe"], through("helper/startup"));
  t.same(containerOf(pod, "tcp")!["livenessProbe"], { exec: { command: ["cat", "/tmp/healthy"] } });
  t.match(containerOf(pod, "others"), {
    readinessProbe: { httpGet: { scheme: "HTTPS" } },
    livenessProbe: { httpGet: { httpHeaders: [{ name: "X-Probe" }] } },
    startupProbe: { tcpSocket: { port: "unknown" } },
  });
  t.same(configOf(pod).health.probes, [
    { path: "/app-health/helper/startup", port: 7001, type: "tcp", timeout: "1s" },
    { path: "/app-health/http/startup", port: 8081, type: "http", target: "/startup", timeout: "1s" },
    { path: "/app-health/http/readiness", port: 8080, type: "http", target: "/ready", timeout: "1s" },
    {
      path: "/app-health/http/liveness",
      port: 8081,
      type: "http",
      target: "/live?full=false",
      host: "health.internal",
      timeout: "2s",
    },
    { path: "/app-health/grpc/readiness", port: 9000, type: "grpc", service: "shop.Cart", timeout: "1s" },
    { path: "/app-health/grpc/liveness", port: 9000, type: "grpc", timeout: "1s" },
    { path: "/app-health/tcp/readiness", port: 6000, type: "tcp", timeout: "1s" },
  ]);
  const [explicit] = objectsIn(injected(MANIFESTS["probes-of-all-kinds.yaml"]!, optionsOf()));
  const [before] = objectsIn(MANIFESTS["probes-of-all-kinds.yaml"]!);
  t.same(
    containerOf(podOf(explicit!)!, "http"),
    containerOf(podOf(before!)!, "http"),
    "without redirection nothing changes",
  );
});

test("a probe of a container whose name is not its own stays as it is, since nobody could tell which one to put back", async (t) => {
  const readinessProbe = { tcpSocket: { port: 1 } };
  const containers = [
    APP,
    { image: "a", readinessProbe },
    { name: "b", readinessProbe },
    { name: "b", readinessProbe },
  ];
  const pod = { metadata: { name: "web" }, spec: { containers } };
  const outcome = injectPod(pod, optionsOf({ mode: "transparent" }));
  t.same((podFrom(outcome)["spec"] as Fields)["containers"], containers);
  t.match(outcome, { warnings: [/transparent/, /left as it is/, /left as it is/, /left as it is/] });
});

test("Consul's annotations are followed, and what cannot be followed is told", async (t) => {
  const [object] = objectsIn(MANIFESTS["consul-migration.yaml"]!);
  const outcome = injectPod(podOf(object!), optionsOf());
  const pod = podFrom(outcome);
  t.match(configOf(pod), {
    service: { name: "static-client", port: 8080, tags: ["v1", "blue"], meta: { version: "1" } },
    upstreams: {
      "static-server": { localPort: 1234 },
      reports: { localPort: 1235, from: [{ consul: { service: "reports", datacenter: "dc2" } }] },
      nearest: { localPort: 1236, from: [{ consul: { query: "nearest" } }] },
    },
  });
  t.match(sidecarOf(pod), { resources: { limits: { memory: "300Mi" } } });
  t.match(outcome, {
    warnings: [
      /^consul\.hashicorp\.com\/envoy-extra-args cannot be followed/,
      /^consul\.hashicorp\.com\/connect-inject is heeded by Consul's own injector as well/,
    ],
  });
  const disabled = { "consul.hashicorp.com/connect-inject": "false" };
  t.match(injectPod(podWith(disabled), optionsOf()), { outcome: "skipped" });
  t.match(injectPod(podWith({ ...disabled, "heddle.dev/inject": "enabled" }), optionsOf()), {
    outcome: "injected",
  });
  const wrong = podWith({
    "consul.hashicorp.com/connect-service-upstreams": "db.svc.ns.peer:1, half",
    "consul.hashicorp.com/transparent-proxy": "maybe",
  });
  t.match(injectPod(wrong, optionsOf()), {
    outcome: "injected",
    warnings: [/peers of Consul are not known/, /expected name:port/, /expected true or false, got "maybe"/],
  });
});

test("a pod is not changed by injecting it, and injecting it again changes nothing", async (t) => {
  const pod = podWith({ "heddle.dev/mode": "transparent" });
  const copy = structuredClone(pod);
  const once = podFrom(injectPod(pod, optionsOf()));
  t.same(pod, copy);
  t.match(injectPod(once, optionsOf()), { outcome: "already", pod: once });
  t.same(uninjectPod(once), { outcome: "uninjected", pod });
  t.same(uninjectPod(pod), { outcome: "skipped", reason: "it is not injected" });
});

test("a review for a new pod gives the pod with its sidecar, and any other is left alone", async (t) => {
  const review = (object: unknown, kind = "Pod", operation = "CREATE") => ({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "1", kind: { group: "", version: "v1", kind }, operation, namespace: "shop", object },
  });
  const pod = { metadata: { generateName: "web-", labels: { app: "web" } }, spec: { containers: [APP] } };
  const outcome = injectReview(review(pod), optionsOf());
  t.match(sidecarOf(podFrom(outcome)), { name: "heddle" });
  t.match(injectReview(review(podFrom(outcome)), optionsOf({ sidecar: "classic" })), { outcome: "already" });
  t.match(injectReview(review(pod, "Deployment"), optionsOf()), { outcome: "skipped" });
  t.match(injectReview(review(pod, "Pod", "UPDATE"), optionsOf()), { outcome: "skipped" });
  t.match(injectReview("nonsense", optionsOf()), { outcome: "skipped" });
});

test("what an annotation says comes through the kubelet as it was said", (t) => {
  // As Kubernetes describes it: $(NAME) is filled in, two dollars are one, any other dollar stays.
  const kubelet = (text: string) =>
    text.replace(/\$\$|\$\(([^)]*)\)/g, (all, name) => (all === "$$" ? "$" : `FILLED ${name}`));
  const texts = ["$(POD_IP)", "$$(POD_IP)", "$$$(POD_IP)", "$$$$(", "a$b", "$$", "$$$", "$"];
  for (const text of texts) {
    const pod = podFrom(injectPod(podWith({ "heddle.dev/service-meta": `a=${text}` }), optionsOf()));
    const env = sidecarOf(pod)["env"] as { name: string; value: string }[];
    const value = env.find(({ name }) => name === "HEDDLE_CONFIG")!.value;
    t.equal(parse(kubelet(value)).service.meta.a, text, text);
  }
  t.end();
});

test("a probe whose path the configuration would fill in is left as it is, and its pod is no fault", (t) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as a pod may have it
  const path = "/health?${HEDDLE_CONFIG}";
  const readinessProbe = { httpGet: { path, port: 8080 } };
  const outcome = injectPod(
    podWith({ "heddle.dev/rewrite-probes": "enabled" }, { containers: [{ ...APP, readinessProbe }] }),
    optionsOf(),
  );
  t.match(outcome, { warnings: [/left as it is: the configuration would fill in/] });
  t.match(containerOf(podFrom(outcome), "app"), { readinessProbe });
  t.end();
});
