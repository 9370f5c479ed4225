import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Test, test } from "tap";
import { isCallable } from "../../discovery/address.ts";
import { ConsulClient } from "../../discovery/consul/client.ts";
import { readHealthEntries } from "../../discovery/consul/health-entries.ts";
import { readTls } from "../../discovery/consul/tls.ts";
import { readEntries } from "../../discovery/file/entries.ts";
import { readSlice } from "../../discovery/kubernetes/slices.ts";
import { WatchLines } from "../../discovery/kubernetes/watch-lines.ts";
import { startApp } from "../support/apps.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type RawConnection, rawEndpoint } from "../support/raw.ts";

function clientOf(t: Test, address: string): ConsulClient {
  const options = { address: `http://${address}`, tls: {}, waitMs: 60_000 };
  const client = new ConsulClient(options, new ManualClock());
  t.teardown(() => client.close());
  return client;
}

const ANSWER =
  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\n[]";

/** What is asked on a connection, which is then answered. */
async function answered(connection: RawConnection): Promise<string> {
  await connection.until(/\r\n\r\n/);
  const [asked] = connection.take().split("\r\n");
  connection.send(ANSWER);
  return asked!;
}

test("a kept connection that the agent is closing is no outage: it is asked again, from the beginning", async (t) => {
  const agent = await rawEndpoint(t);
  const client = clientOf(t, agent.address);
  const path = "/health/service/orders";
  // Two that are kept.
  const both = [client.get({ path }), client.get({ path })];
  const [first, second] = [await agent.accepted(0), await agent.accepted(1)];
  await Promise.all([answered(first), answered(second), ...both]);

  const call = client.get({ path, query: { stale: "", index: "7", wait: "60s" }, timeoutMs: 70_000 });
  // Whichever of them it takes, the agent has closed it meanwhile.
  const close = async (connection: RawConnection) => {
    await connection.until(/\r\n\r\n/);
    connection.socket.resetAndDestroy();
    return connection.take();
  };
  const closed = await Promise.all([close(first), close(second)]);
  t.equal(
    closed.filter((asked) => asked.includes("index=7")).length,
    1,
    "only the first one waits for a change",
  );
  t.equal(await answered(await agent.accepted(2)), "GET /v1/health/service/orders?stale= HTTP/1.1");
  t.same((await call).body, []);
});

test("a call that changes something is made although the kept connection was closed", async (t) => {
  const agent = await rawEndpoint(t);
  const client = clientOf(t, agent.address);
  const before = client.get({ path: "/agent/checks" });
  await answered(await agent.accepted(0));
  await before;
  const call = client.put({ path: "/agent/service/deregister/{id}", params: { id: "orders-1" } });
  await agent.connections[0]!.until(/\r\n\r\n/);
  agent.connections[0]!.socket.resetAndDestroy();
  t.equal(await answered(await agent.accepted(1)), "PUT /v1/agent/service/deregister/orders-1 HTTP/1.1");
  t.equal((await call).status, 200);
});

test("a connection that breaks when it is new is an error, and not tried for ever", async (t) => {
  const agent = await rawEndpoint(t);
  const call = clientOf(t, agent.address).get({ path: "/agent/checks" });
  (await agent.accepted(0)).socket.resetAndDestroy();
  await t.rejects(call, /hang up|ECONNRESET/);
  t.equal(agent.connections.length, 1);
});

test("an answer without an end is given up long before the memory is", async (t) => {
  const part = Buffer.alloc(1024 * 1024, " ");
  let sent = 0;
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { "content-type": "application/json", "x-consul-index": "5" });
    const more = () => {
      while (!response.destroyed && response.write(part)) sent++;
    };
    response.on("drain", more).on("error", () => {});
    more();
  });
  await t.rejects(clientOf(t, app.address).get({ path: "/health/service/orders" }), {
    message: "the agent's answer is longer than 67108864 bytes",
  });
  t.ok(sent < 256, `${sent} MiB`);
});

test("an address is one of IP or a name, and not every address of this machine", async (t) => {
  const usable = [
    "10.0.0.1",
    "169.254.1.1",
    "::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "localhost",
    "db_1.x-y.test.",
  ];
  for (const address of usable) t.ok(isCallable(address), address);
  const harmful = [
    ...["", "a\u0000b", "a\r\nX-Evil: 1", "a b", "a/b", "10.0.0.1:80", "[::1]", "*", "a..b", "ü.test"],
    ...["127.1", "2130706433", "0x7f.1", "300.0.0.1", "x".repeat(64), `${"x.".repeat(127)}x`],
    ...["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::%eth0", "::ffff:0.0.0.0", "::0.0.0.0"],
  ];
  for (const address of harmful) t.notOk(isCallable(address), JSON.stringify(address));
});

test("an instance that cannot be called takes nothing away from the others", async (t) => {
  const at = (address: string) => ({ Service: { Address: address, Port: 80 } });
  const reading = readHealthEntries([at("a\u0000b"), at("10.0.0.1"), at("0.0.0.0")], { source: "s" });
  t.same([reading?.instances.map(({ address }) => address), reading?.unusable], [["10.0.0.1"], 2]);
  const slice = {
    metadata: { name: "a", resourceVersion: "1" },
    addressType: "IPv4",
    ports: [{ port: 80 }],
    endpoints: [{ addresses: ["a\u0000b"] }, { addresses: ["10.0.0.1"] }],
  };
  t.match(readSlice(slice, { port: undefined, source: "s" }), {
    instances: [{ address: "10.0.0.1" }],
    fault: "slice a: 1 endpoints without a usable address",
  });
  t.match(readEntries('["0.0.0.0:80"]', "s"), { faults: [{ path: "[0]" }] });
});

test("weights stay numbers of which a sum can be made, and notes stay short lines", async (t) => {
  const instance = (weight: number, output = "") => ({
    Service: { Address: "10.0.0.1", Port: 80, Weights: { Passing: weight } },
    Checks: [{ CheckID: "c", Name: "c", Status: output === "" ? "passing" : "critical", Output: output }],
  });
  const read = (entry: object) => readHealthEntries([entry], { source: "s" })?.instances[0];
  t.same(
    [1e308, 65_536, 7, -1, 1.5].map((weight) => read(instance(weight))?.weight),
    [65_535, 65_535, 7, 1, 1],
  );
  const { note } = read(instance(1, `\u001b[2J\u0000\u202eno\r\n${"x".repeat(3_000_000)}`))!;
  t.match(note, /^c: \[2J no x+$/);
  t.equal(note?.length, 160);
  const said = JSON.stringify({ type: "ERROR", object: { code: 410, message: "x".repeat(100_000) } });
  const [event] = new WatchLines().push(Buffer.from(`${said}\n`));
  t.match(event, { type: "ERROR", code: 410 });
  t.ok(JSON.stringify(event).length < 1_000);
});

test("certificates are read where Kubernetes has mounted them, beside its link to a directory", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-hostile-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "..2026"));
  await writeFile(join(folder, "..2026", "ca.crt"), "a certificate");
  await symlink("..2026", join(folder, "..data"));
  await symlink("..data/ca.crt", join(folder, "ca.crt"));
  t.same(readTls({ caDirectory: folder }).ca, [Buffer.from("a certificate")]);
  await symlink("nowhere", join(folder, "lost.crt"));
  t.throws(() => readTls({ caDirectory: folder }), /lost\.crt/, "one that leads nowhere is said");
});

test("a long file that is no JSON is not read as YAML, which would hold up the traffic", async (t) => {
  const address = (i: number) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:8080`;
  const json = JSON.stringify(Array.from({ length: 80_000 }, (_, i) => address(i)));
  t.match(readEntries(json.slice(0, -5), "s"), {
    faults: [{ message: /^expected JSON, as YAML of more than/ }],
  });
  t.match(readEntries(json.replace(":8080", ":0"), "s"), {
    faults: [{ path: "[0]", message: /^expected an address and a port/, place: { line: 1 } }],
  });
});
