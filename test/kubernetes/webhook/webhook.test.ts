import { once } from "node:events";
import { connect } from "node:tls";
import { type Test, test } from "tap";
import { answerReview, WEBHOOK_METRICS } from "../../../kubernetes/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import {
  type ApiServer,
  operationsIn,
  POD,
  POLICY,
  patched,
  reviewOf,
  startWebhook,
} from "../../support/webhook.ts";

function wantedOf(review: ReturnType<typeof reviewOf>) {
  const answered = answerReview(review, POLICY);
  if ("malformed" in answered) throw new Error(answered.malformed);
  return answered.answer["response"];
}

test("a review by HTTPS is answered as the function answers it: creations, dry runs, both versions", async (t) => {
  const { api, records } = await startWebhook(t);
  for (const review of [
    reviewOf(POD),
    reviewOf(POD, { dryRun: true }),
    reviewOf(POD, {}, "v1beta1"),
    reviewOf(POD, { operation: "UPDATE", oldObject: POD }),
    reviewOf({ ...POD, metadata: { annotations: { "heddle.dev/nonsense": "1" } } }),
  ])
    t.same(await api.review(review), wantedOf(review));
  const response = await api.review(reviewOf(POD));
  t.match(response, { allowed: true, patchType: "JSONPatch" });
  const pod = patched(POD, operationsIn(response)) as { spec: { initContainers: readonly object[] } };
  t.match(pod.spec.initContainers, [{ name: "heddle", restartPolicy: "Always" }]);
  t.match(records[0], { message: "reviewed", outcome: "injected", namespace: "shop", pod: "web-7d4b9c6f5-" });
});

test("what is no review is refused with a status and the reason in JSON", async (t) => {
  const { api, shown } = await startWebhook(t);
  const body = JSON.stringify(reviewOf(POD));
  const refusal = async (...asking: Parameters<ApiServer["send"]>) => {
    const { status, headers, text } = await api.send(...asking);
    t.equal(headers["content-type"], "application/json");
    return [status, JSON.parse(text).error];
  };
  t.match(await refusal(body, { path: "/" }), [404, "expected the path /inject"]);
  t.match(await refusal("", { method: "GET" }), [405, "expected POST, got GET"]);
  for (const type of ["text/plain", "application/json-patch+json", ""])
    t.match(await refusal(body, { headers: { "content-type": type } }), [415, /Content-Type/], type);
  t.match(await refusal(body, { headers: { "content-encoding": "gzip" } }), [415, /Content-Encoding/]);
  t.match(await refusal("{"), [400, /^expected JSON: /]);
  t.match(await refusal(""), [400, /^expected JSON: /]);
  t.match(await refusal(Buffer.from([0x22, 0xff, 0x22])), [400, /^expected JSON: /]);
  t.match(await refusal("[]"), [400, /^expected an AdmissionReview/]);
  t.match(await refusal(`"${"a".repeat(4 * 1024 * 1024)}"`), [413, /4194304 bytes/]);
  const { status } = await api.send(body, { headers: { "content-type": "Application/JSON; charset=utf-8" } });
  t.equal(status, 200, "and it goes on");
  const { text } = await shown("/metrics");
  t.match(text, 'heddle_webhook_refused_requests_total{status="415"} 4\n');
  t.match(text, 'heddle_webhook_refused_requests_total{status="413"} 1\n');
});

test("a hundred at once get their own answers", async (t) => {
  const { api, shown } = await startWebhook(t);
  const pods = Array.from({ length: 100 }, (_, i) => ({
    ...POD,
    metadata: { ...POD.metadata, annotations: { "heddle.dev/upstreams": `u${i}:${9000 + i}` } },
  }));
  const reviews = pods.map((pod) => reviewOf(pod));
  const responses = await Promise.all(reviews.map((review) => api.review(review)));
  for (const [i, review] of reviews.entries()) t.same(responses[i], wantedOf(review));
  t.match((await shown("/metrics")).text, 'heddle_webhook_reviews_total{outcome="injected"} 100\n');
});

test("two instances give the same patch, so that it is all the same whom the API server asks", async (t) => {
  const [one, other] = [await startWebhook(t), await startWebhook(t)];
  const review = reviewOf(POD);
  t.same(await one.api.review(review), await other.api.review(review));
});

test("health and counts are shown on the plain port, which takes no reviews", async (t) => {
  const { api, shown } = await startWebhook(t);
  t.same(await shown("/live"), { status: 200, text: "live\n" });
  t.same(await shown("/ready"), { status: 200, text: "ready\n" });
  t.equal((await shown("/inject")).status, 404);
  await api.review(reviewOf(POD));
  const { text } = await shown("/metrics");
  for (const name of Object.keys(WEBHOOK_METRICS)) t.match(text, `# TYPE ${name} `, name);
  t.match(text, 'heddle_webhook_certificate_loads_total{outcome="used"} 1\n');
});

test("TLS before 1.2 is turned away, counted and told of; who just hangs up is not", async (t) => {
  const { addresses, ca, records, shown } = await startWebhook(t);
  const refusedWith = async (options: object): Promise<string> => {
    const socket = connect({ host: "127.0.0.1", port: addresses.listen.port, ca, ...options });
    const error = await once(socket, "secureConnect").then(
      () => undefined,
      (thrown) => thrown as NodeJS.ErrnoException,
    );
    socket.destroy();
    return String(error?.code);
  };
  t.equal(await refusedWith({}), "undefined");
  t.match(
    await refusedWith({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" }),
    /^ERR_SSL/,
  );
  t.match(await refusedWith({ ca: [] }), /SELF_SIGNED/);
  t.match((await shown("/metrics")).text, "heddle_webhook_tls_failures_total 1\n");
  t.equal(records.filter(({ message }) => /TLS handshake failed/.test(String(message))).length, 1);
});

test("asked to end, it is not ready, serves on for a while without keeping connections, and answers what is on its way", async (t) => {
  const clock = new ManualClock();
  const { webhook, addresses, api, ca, shown } = await startWebhook(t, { clock, lingerMs: 5_000 });
  const body = JSON.stringify(reviewOf(POD));
  t.equal((await api.send(body)).headers["connection"], "keep-alive");
  const stopping = webhook.stop();
  t.same(await shown("/ready"), { status: 503, text: "leaving\n" });
  t.equal((await shown("/live")).status, 200);
  const late = await api.send(body);
  t.same([late.status, late.headers["connection"]], [200, "close"]);
  // A request of which half has come when it stops to listen.
  const half = await halfSent(t, addresses.listen.port, ca, body);
  clock.advance(5_000);
  await refusedBy(addresses.listen.port);
  t.match(await half.rest(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*"patchType":"JSONPatch"/);
  await stopping;
});

test("a request that never ends holds the end up for ten seconds and no longer", async (t) => {
  const clock = new ManualClock();
  const { webhook, addresses, ca } = await startWebhook(t, { clock });
  const half = await halfSent(t, addresses.listen.port, ca, JSON.stringify(reviewOf(POD)));
  const stopping = webhook.stop();
  clock.advance(0);
  await refusedBy(addresses.listen.port);
  clock.advance(10_000);
  await stopping;
  await half.closed;
  t.pass();
});

/** A request of which the head and half of the body have arrived. */
async function halfSent(t: Pick<Test, "teardown">, port: number, ca: string, body: string) {
  const socket = connect({ host: "127.0.0.1", port, ca });
  t.teardown(() => socket.destroy());
  await once(socket, "secureConnect");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => {});
  const closed = once(socket, "close").catch(() => {});
  const bytes = Buffer.from(body);
  const expecting = once(socket, "data");
  socket.write(
    `POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ${bytes.length}\r\n\r\n`,
  );
  // Its 100 says that the head is there.
  await expecting;
  text = "";
  socket.write(bytes.subarray(0, 100));
  return {
    closed,
    async rest() {
      socket.write(bytes.subarray(100));
      await closed;
      return text;
    },
  };
}

/** Resolves when nobody listens there. */
async function refusedBy(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
    const connected = await once(socket, "secureConnect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (!connected) return;
  }
}
