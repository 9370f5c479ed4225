import type { ServerResponse } from "node:http";
import { test } from "tap";
import { HEALTH_QUESTIONS } from "../../proxy/health-question.layer.ts";
import { call, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";

/** An app that answers when it is told to. */
async function startHoldingApp(t: Parameters<typeof startApp>[0]) {
  const held: ServerResponse[] = [];
  let came: (() => void) | undefined;
  const app = await startApp(t, (_, response) => {
    held.push(response);
    came?.();
  });
  return {
    app,
    held,
    async holds(count: number) {
      while (held.length < count) await new Promise<void>((resolve) => (came = resolve));
    },
  };
}

const FULL = "limits: { requests: 1, pending: 0, connections: 1 }";

test("a replica with all hands full answers whether it is well, a few times at once, and nobody else", async (t) => {
  const { app, held, holds } = await startHoldingApp(t);
  const { addresses, metric } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port}, check: { http: /health } }
inbound: { listen: 127.0.0.1:0, ${FULL} }`,
  );
  const { port } = addresses.inbound!;
  const ask = (question: object) =>
    call(port, "web", question).then(({ status, headers }) => [status, headers["x-heddle-error"]]);
  const work = ask({ path: "/work" });
  await holds(1);
  t.same(await ask({ path: "/work" }), [503, "overflow"]);
  const asked = Array.from({ length: HEALTH_QUESTIONS }, () => ask({ path: "/health" }));
  await holds(1 + HEALTH_QUESTIONS);
  t.same(await ask({ path: "/health" }), [503, "overflow"], "what is more is a request like any other");
  held[1]!.end("well");
  t.same(await Promise.any(asked), [200, undefined]);
  const again = ask({ path: "/health" });
  await holds(2 + HEALTH_QUESTIONS);
  for (const response of held.slice(2)) response.end("well");
  for (const answer of await Promise.all([...asked, again])) t.same(answer, [200, undefined]);
  for (const other of [
    { path: "/health?work" },
    { path: "/health", method: "POST" },
    { path: "/health", headers: { "content-length": "4" }, body: "work" },
  ])
    t.same(await ask(other), [503, "overflow"], JSON.stringify(other));
  held[0]!.end("done");
  t.same(await work, [200, undefined]);
  t.equal(await metric("heddle_requests_total"), 7 + HEALTH_QUESTIONS, "it is counted like any other");
});

test("without service.check.http there is no such path", async (t) => {
  const { app, held, holds } = await startHoldingApp(t);
  const { addresses } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port} }
inbound: { listen: 127.0.0.1:0, ${FULL} }`,
  );
  const { port } = addresses.inbound!;
  const work = call(port, "web", { path: "/work" });
  await holds(1);
  t.equal((await call(port, "web", { path: "/health" })).status, 503);
  held[0]!.end("done");
  t.equal((await work).status, 200);
});

test("a health question passes rate limits, fallbacks and faults for testing, in each worker", async (t) => {
  let status = 200;
  const app = await startApp(t, (_, response) => {
    response.statusCode = status;
    response.end("of the app");
  });
  const { addresses } = await startInProcess(
    t,
    `workers: 2
service: { name: web, port: ${app.port}, check: { http: /health } }
inbound:
  listen: 127.0.0.1:0
  rateLimits: [{ requests: 1, per: 1h }]
  fallback: { on: [500], status: 200, body: instead }
  faults: [{ kind: abort, status: 500 }]`,
  );
  const { port } = addresses.inbound!;
  const ask = async (path: string) => {
    const { status: said, body, headers } = await call(port, "web", { path });
    return [said, said === 429 ? "" : body, headers["x-heddle-fault"]];
  };
  t.same(await ask("/"), [200, "instead", undefined]);
  t.same(await ask("/"), [429, "", undefined]);
  for (let i = 0; i < 10; i++) t.same(await ask("/health"), [200, "of the app", undefined]);
  status = 500;
  for (let i = 0; i < 10; i++) t.same(await ask("/health"), [500, "of the app", undefined], "the truth");
  t.equal(app.served, 20);
});
