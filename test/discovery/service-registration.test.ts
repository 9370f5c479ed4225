import { test } from "tap";
import { type ServiceDefinition, serviceRegistration } from "../../discovery/consul/service-registration.ts";

const CHECK = { intervalMs: 2_000, timeoutMs: 1_000, deregisterAfterMs: 600_000 };
const SERVICE: ServiceDefinition = {
  name: "web",
  address: "127.0.0.1",
  port: 3000,
  tags: ["blue", "v2"],
  meta: { owner: "us" },
  weight: 10,
  warningWeight: 2,
  check: CHECK,
};
const WILDCARD = { host: "0.0.0.0", port: 15006 };
const OFTEN = { Interval: "2000ms", Timeout: "1000ms", DeregisterCriticalServiceAfter: "600s" };

function registered(
  more: Partial<ServiceDefinition> = {},
  check: Partial<ServiceDefinition["check"]> = {},
  inbound = WILDCARD,
) {
  return serviceRegistration({ ...SERVICE, ...more, check: { ...CHECK, ...check } }, inbound, "host-1");
}

test("what the registry is told is complete, and in its words", async (t) => {
  t.same(registered({ zone: "b" }), {
    id: "web-host-1-15006",
    name: "web",
    body: {
      ID: "web-host-1-15006",
      Name: "web",
      Port: 15006,
      Tags: ["blue", "v2"],
      Meta: { owner: "us", zone: "b" },
      Weights: { Passing: 10, Warning: 2 },
      Checks: [
        { CheckID: "service:web-host-1-15006:app", Name: "web", TCP: "127.0.0.1:3000", ...OFTEN },
        {
          CheckID: "service:web-host-1-15006:sidecar",
          Name: "its sidecar",
          TCP: "127.0.0.1:15006",
          ...OFTEN,
        },
      ],
    },
  });
  t.match(registered({ id: "web-7" }), { id: "web-7", body: { ID: "web-7", Name: "web" } });
});

test("peers are sent to the inbound port, under the address that the configuration names, or that of the port", async (t) => {
  t.notOk("Address" in registered().body, "of every address: the agent knows its own");
  const inbound = { host: "10.0.0.7", port: 15006 };
  t.match(registered({}, {}, inbound).body, { Address: "10.0.0.7", Port: 15006 });
  t.match(registered({ advertise: "web.example" }, {}, inbound).body, {
    Address: "web.example",
    Port: 15006,
  });
  t.match(registered({ advertise: "web.example" }).body, { Address: "web.example" });
});

test("the zone of the configuration is told as metadata, and wins over metadata", async (t) => {
  t.match(registered({ zone: "b", meta: { zone: "a" } }).body, { Meta: { zone: "b" } });
  t.match(registered({ meta: { zone: "a" } }).body, { Meta: { zone: "a" } });
  t.same(registered({ meta: {} }).body["Meta"], {});
});

test("with a path to ask, one check through the sidecar proves both", async (t) => {
  const CheckID = "service:web-host-1-15006";
  t.same(registered({}, { httpPath: "/health" }, { host: "10.0.0.7", port: 15006 }).body["Checks"], [
    { CheckID, Name: "web", HTTP: "http://10.0.0.7:15006/health", ...OFTEN },
  ]);
  t.match(registered({}, { httpPath: "/health" }).body["Checks"], [
    { HTTP: "http://127.0.0.1:15006/health" },
  ]);
});

test("with a time to live the agent asks nobody, and it is said who is asked, and how often", async (t) => {
  const { body, report } = registered({}, { ttlMs: 9_000 });
  const CheckID = "service:web-host-1-15006";
  t.same(body["Checks"], [{ CheckID, Name: "web", TTL: "9000ms", DeregisterCriticalServiceAfter: "600s" }]);
  t.same(report, {
    checkId: CheckID,
    ask: { address: "127.0.0.1", port: 3000 },
    probe: { type: "tcp" },
    intervalMs: 2_000,
    timeoutMs: 1_000,
  });
  t.match(registered({}, { ttlMs: 9_000, httpPath: "/health" }).report, {
    ask: { address: "127.0.0.1", port: 15006 },
    probe: { type: "http", path: "/health", host: "web", statuses: [200, 299] },
  });
  t.equal(registered({}, { ttlMs: 3_000 }).report?.intervalMs, 1_000, "two words may be lost");
  t.equal(registered().report, undefined, "and without one nobody is told anything");
});

test("addresses of IPv6 are written as Consul can read them", async (t) => {
  const everywhere = { host: "::", port: 15006 };
  t.match(registered({ address: "::1" }, { httpPath: "/health" }, everywhere).body["Checks"], [
    { HTTP: "http://[::1]:15006/health" },
  ]);
  t.match(registered({ address: "::1" }, {}, everywhere).body["Checks"], [
    { TCP: "[::1]:3000" },
    { TCP: "[::1]:15006" },
  ]);
  t.match(registered({}, {}, { host: "fd00::7", port: 15006 }).body, { Address: "fd00::7" });
});
