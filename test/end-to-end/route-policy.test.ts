import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";

test("a route has its own time limits and retries, whatever its upstream has", async (t) => {
  const app = await startApp(t);
  const paths: string[] = [];
  app.answer = (request, response) => {
    paths.push(request.url!);
    // Whoever is slow is never answered; the others are busy.
    if (request.url!.startsWith("/slow")) return;
    response.statusCode = 503;
    response.end();
  };
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], retries: { attempts: 2, backoff: { base: 1ms, max: 1ms } }, breaker: { enabled: false } }
  stock: { endpoints: [${app.address}], retries: { attempts: 0, backoff: { base: 1ms, max: 1ms } }, breaker: { enabled: false } }
routes:
  - { name: once, match: { host: orders, path: /once }, to: [{ upstream: orders }], retries: { attempts: 0 } }
  - { name: more, match: { host: stock, path: /more }, to: [{ upstream: stock }], retries: { attempts: 3, on: [503] } }
  - { name: other, match: { host: orders, path: /other }, to: [{ upstream: orders }], retries: { attempts: 2, on: [502] } }
  - { name: soon, match: { host: orders, path: /slow }, to: [{ upstream: orders }], timeouts: { request: 50ms } }
  - { name: each, match: { host: orders, path: /slow-attempt }, to: [{ upstream: orders }], timeouts: { attempt: 30ms }, retries: { attempts: 1, on: [timeout] } }`,
  );
  const { port } = addresses.outbound;
  const attemptsOf = async (host: string, path: string) => {
    paths.length = 0;
    const { status } = await call(port, host, { path });
    return { status, attempts: paths.length };
  };
  t.same(await attemptsOf("orders", "/plain"), { status: 503, attempts: 3 }, "as the upstream has it");
  t.same(await attemptsOf("orders", "/once"), { status: 503, attempts: 1 });
  t.same(await attemptsOf("orders", "/other"), { status: 503, attempts: 1 }, "not after this status");
  t.same(await attemptsOf("stock", "/plain"), { status: 503, attempts: 1 });
  t.same(await attemptsOf("stock", "/more"), { status: 503, attempts: 4 });
  t.same(await attemptsOf("orders", "/slow"), { status: 504, attempts: 1 });
  t.match(await logged(({ route }) => route === "soon"), { cause: "deadline_exceeded" });
  t.same(await attemptsOf("orders", "/slow-attempt"), { status: 504, attempts: 2 });
  t.match(await logged(({ route }) => route === "each"), { cause: "attempt_timeout", attempts: 2 });
});
