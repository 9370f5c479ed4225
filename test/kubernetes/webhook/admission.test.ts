import { test } from "tap";
import { answerReview, injectPod, jsonPatch, processManifests } from "../../../kubernetes/index.ts";
import { containerOf, FORMS, MANIFESTS, objectsIn, optionsOf, podOf } from "../../support/injecting.ts";
import { schemaProblems } from "../../support/kubernetes-schema.ts";
import {
  type AdmissionResponse,
  operationsIn,
  POD,
  POLICY,
  patched,
  reviewOf,
} from "../../support/webhook.ts";

function respond(review: unknown, policy = POLICY): AdmissionResponse {
  const answered = answerReview(review, policy);
  if ("malformed" in answered) throw new Error(answered.malformed);
  return answered.answer["response"] as AdmissionResponse;
}

test("applied by the API server, the patch gives what inject gives, for every pod of the manifests in every form", async (t) => {
  let patches = 0;
  for (const [name, text] of Object.entries(MANIFESTS))
    for (const object of objectsIn(text)) {
      const pod = podOf(object);
      if (pod === undefined) continue;
      for (const [form, inject] of Object.entries(FORMS)) {
        const wanted = injectPod(pod, inject, { kind: "Pod" });
        const response = respond(reviewOf(pod), { ...POLICY, inject });
        const got = patched(pod, operationsIn(response));
        if (wanted.outcome === "injected") {
          t.same(got, wanted.pod, `${name}, ${form}`);
          patches++;
        } else t.same(got, pod, `${name}, ${form}`);
        t.equal(response.allowed, wanted.outcome !== "faulty", `${name}, ${form}`);
      }
    }
  t.ok(patches > 20, `${patches}`);
});

test("the pod of a ReplicaSet gets the sidecar that its Deployment gets from heddle inject", async (t) => {
  const template = {
    metadata: { annotations: POD.metadata.annotations, labels: { tier: "front" } },
    spec: POD.spec,
  };
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: { selector: { matchLabels: { tier: "front" } }, template },
  };
  const { text } = processManifests(JSON.stringify(deployment), { inject: POLICY.inject });
  const fromCommand = podOf(objectsIn(text!)[0]!)!;
  const pod = {
    ...POD,
    metadata: { ...POD.metadata, labels: { tier: "front", "pod-template-hash": "7d4b9c6f5" } },
  };
  const injected = patched(pod, operationsIn(respond(reviewOf(pod)))) as Record<string, unknown>;
  t.same(containerOf(injected, "heddle"), containerOf(fromCommand, "heddle"));
  t.match(JSON.stringify(containerOf(injected, "heddle")), "web");
  t.same(schemaProblems(injected), []);
});

test("the service of a pod without a telling label is the name of its workload", async (t) => {
  const serviceOf = (kind: string, name: string, hash?: string) => {
    const labels = hash === undefined ? {} : { "pod-template-hash": hash };
    const ownerReferences = [
      { kind: "Node", name: "a", controller: false },
      { kind, name, controller: true },
    ];
    const pod = { ...POD, metadata: { generateName: `${name}-`, labels, ownerReferences } };
    const injected = patched(pod, operationsIn(respond(reviewOf(pod)))) as Record<string, unknown>;
    return /name: (\S+?)(?:\\n|,| )/.exec(JSON.stringify(containerOf(injected, "heddle")?.["env"]))?.[1];
  };
  t.same(
    [
      serviceOf("ReplicaSet", "web-7d4b9c6f5", "7d4b9c6f5"),
      serviceOf("ReplicaSet", "by-hand"),
      serviceOf("StatefulSet", "db"),
      serviceOf("Job", "report-29123456"),
      serviceOf("Job", "migrate"),
    ],
    ["web", "by-hand", "db", "report", "migrate"],
  );
});

test("parts that are missing, empty or null are made before what goes into them", async (t) => {
  const container = { name: "web", image: "a", ports: [{ containerPort: 80 }] };
  for (const metadata of [{}, { annotations: null }, { annotations: {} }, null, undefined])
    for (const spec of [{}, { initContainers: null, volumes: null }, { initContainers: [], volumes: [] }])
      for (const inject of [optionsOf({ service: "web" }), optionsOf({ config: "mesh" })]) {
        const pod = {
          ...(metadata === undefined ? {} : { metadata }),
          spec: { ...spec, containers: [container] },
        };
        const response = respond(reviewOf(pod), { ...POLICY, inject });
        const wanted = injectPod(pod, inject, { kind: "Pod" });
        if (wanted.outcome !== "injected") throw new Error(wanted.outcome);
        t.same(patched(pod, operationsIn(response)), wanted.pod, JSON.stringify(pod));
      }
});

test("a pod that has its sidecar is left alone, so that being asked twice changes nothing", async (t) => {
  const once = patched(POD, operationsIn(respond(reviewOf(POD))));
  t.notSame(once, POD);
  const twice = respond(reviewOf(once));
  t.same([twice.allowed, twice.patch], [true, undefined]);
  const otherwise = respond(reviewOf(once), { ...POLICY, inject: optionsOf({ sidecar: "classic" }) });
  t.same([otherwise.allowed, otherwise.patch], [true, undefined]);
});

test("what is not a new pod is allowed without a patch", async (t) => {
  const group = { group: "", version: "v1" };
  for (const request of [
    { operation: "UPDATE", oldObject: POD },
    { operation: "DELETE", object: null, oldObject: POD },
    { operation: "CONNECT", kind: { ...group, kind: "PodExecOptions" } },
    { kind: { ...group, kind: "Service" } },
    { kind: { group: "apps", version: "v1", kind: "Deployment" } },
    { kind: { group: "metrics.example", version: "v1", kind: "Pod" } },
    { subResource: "ephemeralcontainers" },
    { object: null },
    { object: "a text" },
    { kind: null },
  ]) {
    const { allowed, patch, warnings } = respond(reviewOf(POD, request));
    t.same({ allowed, patch, warnings }, { allowed: true, patch: undefined, warnings: undefined });
  }
});

test("a pod declines by annotation or label, and declining wins", async (t) => {
  const pods = (pod: string | undefined, label: string | undefined, pods: "all" | "asked" = "all") => {
    const key = "heddle.dev/inject";
    const annotations = pod === undefined ? {} : { [key]: pod };
    const labels = { app: "web", ...(label === undefined ? {} : { [key]: label }) };
    const response = respond(reviewOf({ ...POD, metadata: { annotations, labels } }), { ...POLICY, pods });
    return !response.allowed ? "refused" : response.patch === undefined ? "left alone" : "injected";
  };
  t.equal(pods(undefined, undefined), "injected");
  t.equal(pods("enabled", undefined), "injected");
  t.equal(pods("disabled", undefined), "left alone");
  t.equal(pods(undefined, "disabled"), "left alone");
  t.equal(pods("enabled", "disabled"), "left alone");
  t.equal(pods("disabled", "enabled"), "left alone");
  t.equal(pods(undefined, "yes"), "refused");
  t.equal(pods(undefined, undefined, "asked"), "left alone");
  t.equal(pods("enabled", undefined, "asked"), "injected");
  t.equal(pods(undefined, "enabled", "asked"), "injected");
  t.equal(pods("enabled", "disabled", "asked"), "left alone");
});

test("a pod at fault is refused with what to do about it, or allowed with a warning", async (t) => {
  const pod = {
    ...POD,
    metadata: { annotations: { "heddle.dev/upstream": "orders", "heddle.dev/port": "web!" } },
  };
  const refused = respond(reviewOf(pod));
  t.match(refused, { allowed: false, patch: undefined, status: { code: 422, reason: "Invalid" } });
  t.match(
    refused.status?.message,
    "metadata.annotations.heddle.dev/upstream: unknown annotation; did you mean",
  );
  t.match(refused.status?.message, "metadata.annotations.heddle.dev/port: expected a port");
  t.match(refused.status?.message, "heddle.dev/inject: disabled");
  const allowed = respond(reviewOf(pod), { ...POLICY, onFault: "allow" });
  t.match(allowed, {
    allowed: true,
    patch: undefined,
    warnings: [/no sidecar was added: .*upstream/, /port/],
  });
  for (const warning of allowed.warnings!) t.ok(warning.length <= 256, warning);
});

test("warnings of inject come with the patch", async (t) => {
  const response = respond(reviewOf(POD), { ...POLICY, inject: optionsOf({ mode: "transparent" }) });
  t.match(response, { allowed: true, patchType: "JSONPatch", warnings: [/^heddle: transparent mode needs/] });
});

test("a failure of our own lets the pod in with a warning, unless the operator would rather have none", async (t) => {
  // Deeper than the stack is: no pod is like this, and no other way is known to make it fail.
  const deep = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
  const review = reviewOf({ ...POD, spec: { ...POD.spec, deep } });
  const answered = answerReview(review, POLICY);
  if ("malformed" in answered) throw new Error(answered.malformed);
  t.match(answered.answer["response"], { allowed: true, patch: undefined, warnings: [/^heddle failed/] });
  t.match(answered.verdict, { outcome: "failed", allowed: true, err: RangeError });
  t.match(respond(review, { ...POLICY, onFailure: "deny" }), {
    allowed: false,
    status: { code: 500, reason: "InternalError", message: /uid/ },
  });
});

test("a v1beta1 review is answered in its own version, and no review at all is malformed", async (t) => {
  const answered = answerReview(reviewOf(POD, {}, "v1beta1"), POLICY);
  t.match(answered, {
    answer: { apiVersion: "admission.k8s.io/v1beta1", response: { patchType: "JSONPatch" } },
  });
  for (const review of [
    null,
    [],
    "text",
    {},
    { ...reviewOf(POD), kind: "Pod" },
    reviewOf(POD, {}, "v2"),
    reviewOf(POD, { uid: "" }),
    reviewOf(POD, { uid: 1 }),
    { ...reviewOf(POD), request: null },
  ])
    t.match(answerReview(review, POLICY), { malformed: /^expected/ });
});

test("a name or a namespace that the pod does not have yet is taken from the request", async (t) => {
  const verdictOf = (object: object, request = {}) => {
    const answered = answerReview(reviewOf(object, request), POLICY);
    return "verdict" in answered ? [answered.verdict.namespace, answered.verdict.pod] : [];
  };
  t.same(verdictOf(POD), ["shop", "web-7d4b9c6f5-"]);
  t.same(verdictOf({ ...POD, metadata: { name: "web" } }, { name: "web" }), ["shop", "web"]);
  t.same(verdictOf({ ...POD, metadata: {} }, { name: "later" }), ["shop", "later"]);
});

test("a container put among others is one addition, and keys are escaped as JSON pointers are", async (t) => {
  const named = (...names: string[]) => names.map((name) => ({ name }));
  t.same(jsonPatch({ a: named("x", "y") }, { a: named("new", "x", "y") }), [
    { op: "add", path: "/a/0", value: { name: "new" } },
  ]);
  t.same(jsonPatch({ "a/b~c": 1 }, { "a/b~c": 2 }), [{ op: "replace", path: "/a~1b~0c", value: 2 }]);
  t.same(jsonPatch({ a: 1, b: 2 }, { b: 2 }), [{ op: "remove", path: "/a" }]);
  for (const [from, to] of [
    [named("x", "y"), named("y", "x")],
    [named("x", "y"), named("y")],
    [named("x", "x"), named("x", "x", "z")],
    [[1, 2], [2]],
    [{ a: [] }, { a: {} }],
    [{ a: null }, { a: { b: null } }],
    [named("a", "b"), [{ name: "n" }, { name: "a", image: 1 }, { name: "b" }, { name: "m" }]],
    [1, 2],
  ])
    t.same(patched(from, jsonPatch(from, to)), to, JSON.stringify([from, to]));
});

test("a label is a text and no pattern, and a thousand wrong annotations are told of as far as they help", async (t) => {
  const serviceOf = (hash: string) => {
    const pod = {
      metadata: { generateName: "web-x-", labels: { "pod-template-hash": hash } },
      spec: { containers: [{ name: "web", ports: [{ containerPort: 8080 }] }] },
    };
    const injected = patched(pod, operationsIn(respond(reviewOf(pod))));
    const sidecar = containerOf(injected as Parameters<typeof containerOf>[0], "heddle")!;
    const env = sidecar["env"] as { name: string; value: string }[];
    return /name: (.*)/.exec(env.find(({ name }) => name === "HEDDLE_CONFIG")!.value)![1];
  };
  t.equal(serviceOf("x"), "web");
  for (const hash of [".", "(a+)+", "(", "[", ""]) t.equal(serviceOf(hash), "web-x", hash);
  const annotations = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`heddle.dev/q${i}`, ""]));
  const { status } = respond(reviewOf({ ...POD, metadata: { name: "web", annotations } }));
  t.equal(status?.message.split("unknown annotation").length, 51);
});

test("a denial and the log stay short, however long the names and however many the faults of a pod", async (t) => {
  const long = "x".repeat(100_000);
  const ports = [{ name: "a", containerPort: 15001 }];
  const containers = Array.from({ length: 1_000 }, (_, i) => ({ name: `c${i}`, ports }));
  for (const pod of [
    { metadata: { name: long, annotations: { [`heddle.dev/${long}`]: "" } }, spec: POD.spec },
    { metadata: { generateName: long }, spec: { containers } },
  ]) {
    const answered = answerReview(reviewOf(pod, { namespace: long }), POLICY);
    if ("malformed" in answered) throw new Error(answered.malformed);
    t.match(answered.answer["response"], { allowed: false });
    t.ok(JSON.stringify(answered).length < 50_000, `${JSON.stringify(answered).length}`);
  }
  const { status } = respond(reviewOf({ metadata: { name: "web" }, spec: { containers } }));
  t.match(status?.message, /; and 950 more \(correct it/);
});
