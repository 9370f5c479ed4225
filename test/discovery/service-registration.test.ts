import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "tap";
import { ConsulAgent, serviceRegistration } from "../../discovery/index.ts";

const SERVICE = {
  name: "web",
  address: "127.0.0.1",
  port: 3000,
  tags: [],
  meta: {},
  check: { intervalMs: 1, timeoutMs: 1, deregisterAfterMs: 1 },
};

test("peers are sent to the inbound port, and both the app and the sidecar are checked", async (t) => {
  t.match(serviceRegistration(SERVICE, { host: "0.0.0.0", port: 15006 }, "host-1"), {
    id: "web-host-1-15006",
    address: "",
    port: 15006,
    check: { tcp: "127.0.0.1:3000", sidecar: "127.0.0.1:15006" },
  });
  const asked = {
    ...SERVICE,
    id: "web-7",
    advertise: "web.example",
    check: { ...SERVICE.check, httpPath: "/health" },
  };
  t.match(serviceRegistration(asked, { host: "10.0.0.7", port: 15006 }, "host-1"), {
    id: "web-7",
    address: "web.example",
    check: { http: "http://10.0.0.7:15006/health", sidecar: undefined },
  });
});

test("addresses of IPv6 are written as Consul can read them", async (t) => {
  const asked = { ...SERVICE, address: "::1", check: { ...SERVICE.check, httpPath: "/health" } };
  t.match(serviceRegistration(asked, { host: "::", port: 15006 }, "h").check, {
    http: "http://[::1]:15006/health",
    tcp: "[::1]:3000",
  });
});

test("an error of the agent never carries the token that was sent to it", async (t) => {
  const server = createServer((_, response) => {
    response.writeHead(403, { "content-type": "text/plain" });
    response.end("Permission denied");
  }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const agent = new ConsulAgent({ address: `http://127.0.0.1:${port}`, token: "VERY-SECRET", waitMs: 1000 });
  t.teardown(() => agent.close());
  const calls = [
    agent.health("web", 0, new AbortController().signal),
    agent.register(serviceRegistration(SERVICE, { host: "::", port: 1 }, "h")),
    agent.deregister("web"),
    agent.isRegistered("web"),
  ];
  for (const call of calls) {
    const thrown = await call.then(
      () => undefined,
      (error: Error) => error,
    );
    t.equal(thrown?.message, "the agent answered 403");
    t.same(Object.keys(thrown!), [], "and nothing of the exchange hangs on it");
  }
});
