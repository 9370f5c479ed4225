import { createSocket } from "node:dgram";
import { once } from "node:events";
import { encode } from "dns-packet";
import { test } from "tap";
import { DnsClient, parseServer } from "../../discovery/dns/client.ts";
import { type DnsOptions, DnsSource } from "../../discovery/dns/source.ts";
import { Consul, withoutConsul } from "../support/consul.ts";
import { followed, NAME } from "../support/dns-follower.ts";
import {
  a,
  aaaa,
  bytesOf,
  type DnsServer,
  NXDOMAIN,
  REFUSED,
  type Reply,
  type Script,
  SERVFAIL,
  startDnsServer,
  zone,
} from "../support/dns-server.ts";
import { freePorts } from "../support/free-ports.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { logInto } from "../support/sidecar.ts";

test("an answer that does not fit is asked for by TCP, from the same server", async (t) => {
  const many = Array.from({ length: 1_500 }, (_, i) => a(NAME, `10.1.${i >> 8}.${i & 255}`));
  const server = await startDnsServer(t, ({ type, via }) => {
    if (type !== "A") return NXDOMAIN;
    return via === "udp" ? { truncated: true, answers: many.slice(0, 3) } : { answers: many };
  });
  const { nth } = followed(t, [server]);
  t.equal((await nth(1)).length, 1_500);
  t.same(
    server.asked.filter(({ type }) => type === "A").map(({ via }) => via),
    ["udp", "tcp"],
  );
});

test("a truncated answer is followed by TCP even where its records were cut in the middle", async (t) => {
  const server = await startDnsServer(t, (asked) => {
    if (asked.type !== "A") return NXDOMAIN;
    const reply = { answers: [a(NAME, "10.0.0.1"), a(NAME, "10.0.0.2")] };
    if (asked.via === "tcp") return reply;
    return { bytes: bytesOf({ ...reply, truncated: true }, asked).subarray(0, -7) };
  });
  t.same(await followed(t, [server]).nth(1), ["10.0.0.1:80", "10.0.0.2:80"]);
});

test("what goes wrong on the connection is a silence", async (t) => {
  const manners: Readonly<Record<string, readonly [Reply, RegExp]>> = {
    "it ends early": [{ answers: [a(NAME, "10.0.0.1")], cutAfter: 20 }, /ended before the answer did/],
    "it ends at once": [{ cutAfter: 0 }, /ended before the answer did/],
    "another id": [{ id: 1, bytes: encode({ type: "response", id: 1 }) }, /another question/],
    "truncated again": [{ truncated: true }, /truncated on a connection too/],
  };
  for (const [manner, [reply, why]] of Object.entries(manners)) {
    const server = await startDnsServer(t, ({ via }) => (via === "udp" ? { truncated: true } : reply));
    t.match(await followed(t, [server]).nth(1), why, manner);
  }
});

test("a reply with another id or to another question is passed over, and the right one is believed", async (t) => {
  const forged = [a(NAME, "10.6.6.6"), a("evil.mesh", "10.6.6.6")];
  const server = await startDnsServer(t, (asked) => {
    if (asked.type !== "A") return NXDOMAIN;
    const { packet } = asked;
    const evil = { name: "evil.mesh", type: "A", class: "IN" } as const;
    return [
      { id: packet.id! ^ 1, answers: forged },
      { id: packet.id! ^ 1, rcode: 3 },
      { questions: [evil], answers: forged },
      { questions: [...packet.questions!, evil], answers: forged },
      { questions: [{ ...packet.questions![0]!, type: "AAAA" }], answers: forged },
      { questions: [{ ...packet.questions![0]!, class: "CH" }], answers: forged },
      { questions: [], answers: forged },
      { questions: [], rcode: 3 },
      // The question itself, sent back.
      { bytes: encode({ ...packet, type: "query" }) },
      { bytes: Buffer.from([packet.id! >> 8, packet.id! & 255]) },
      { bytes: Buffer.alloc(0) },
      { answers: [a(NAME, "10.0.0.1")] },
    ];
  });
  const { nth, told } = followed(t, [server]);
  t.same(await nth(1), ["10.0.0.1:80"]);
  t.equal(told.length, 1);
});

test("a reply from elsewhere is not received at all", async (t) => {
  const elsewhere = createSocket("udp4");
  t.teardown(() => elsewhere.close());
  elsewhere.bind(0, "127.0.0.1");
  await once(elsewhere, "listening");
  const server = await startDnsServer(t, () => []);
  const { nth, told } = followed(t, [server]);
  await server.heard(2);
  for (const asked of server.asked) {
    const forged = bytesOf({ answers: [a(NAME, "10.6.6.6"), aaaa(NAME, "fd66::6")] }, asked);
    await new Promise((resolve) => elsewhere.send(forged, asked.port, "127.0.0.1", resolve));
  }
  // What the kernel let through would have come before these.
  for (const asked of server.asked)
    server.send(bytesOf(asked.type === "A" ? { answers: [a(NAME, "10.0.0.1")] } : {}, asked), asked.port);
  t.same(await nth(1), ["10.0.0.1:80"]);
  t.equal(told.length, 1);
});

test("every question has an id and a port of its own", async (t) => {
  const server = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  const { nth, clock, restMs } = followed(t, [server]);
  for (let i = 1; i <= 20; i++) {
    await nth(i);
    clock.advance(restMs());
  }
  t.ok(new Set(server.asked.map(({ packet }) => packet.id)).size > 30, "drawn from 65 536, 40 times");
  t.ok(new Set(server.asked.map(({ port }) => port)).size > 10);
});

test("larger datagrams are asked for, and not of a server that does not understand that", async (t) => {
  const server = await startDnsServer(t, (asked) => {
    const isExtended = (asked.packet.additionals ?? []).length > 0;
    return isExtended ? { rcode: 1, questions: [] } : zone(a(NAME, "10.0.0.1"))(asked);
  });
  t.same(await followed(t, [server]).nth(1), ["10.0.0.1:80"]);
  const sizes = server.asked
    .filter(({ type }) => type === "A")
    .map(({ packet }) => packet.additionals!.map((record) => record.type === "OPT" && record.udpPayloadSize));
  t.same(sizes, [[1232], []]);
});

test("a lost datagram is sent again after a second, and the next server is asked after two", async (t) => {
  const mute = await startDnsServer(t, () => []);
  const good = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  const { nth, clock, told } = followed(t, [mute, good]);
  await mute.heard(2);
  clock.advance(999);
  await settled();
  t.equal(mute.asked.length, 2);
  clock.advance(1);
  await mute.heard(4);
  t.equal(
    mute.asked[3]!.packet.id,
    mute.asked.slice(0, 2).find(({ type }) => type === mute.asked[3]!.type)!.packet.id,
    "as the same question",
  );
  t.equal(good.asked.length, 0);
  clock.advance(1_000);
  t.same(await nth(1), ["10.0.0.1:80"]);
  t.equal(told.length, 1);
});

test("the next server is asked when one fails, refuses or is not there, and all of them are named when all do", async (t) => {
  const [port] = await freePorts(1);
  const nobody = `127.0.0.1:${port}`;
  const failing = await startDnsServer(t, () => SERVFAIL);
  const refusing = await startDnsServer(t, () => REFUSED);
  const good = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  const resolver = [nobody, failing.address, refusing.address];
  t.same(await followed(t, [], { resolver: [...resolver, good.address] }).nth(1), ["10.0.0.1:80"]);
  const { nth } = followed(t, [], { resolver });
  t.match(
    await nth(1),
    new RegExp(
      `^${NAME} A: ${nobody}: .*ECONNREFUSED.*; ${failing.address}: SERVFAIL; ${refusing.address}: REFUSED$`,
    ),
  );
});

test("a server that knows that there is nothing is believed, and the next one is not asked", async (t) => {
  const first = await startDnsServer(t, () => NXDOMAIN);
  const second = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  t.same(await followed(t, [first, second]).nth(1), []);
  t.equal(second.asked.length, 0);
});

test("when nobody answers in time that is a silence", async (t) => {
  const mute = await startDnsServer(t, () => []);
  const { nth, clock } = followed(t, [mute]);
  await mute.heard(2);
  clock.advance(2_000);
  t.equal(await nth(1), `${NAME} A: ${mute.address}: no answer within 2000 ms`);
});

test("after stop nothing is told, asked or held any more, whatever it was doing", async (t) => {
  const sockets = () => process.getActiveResourcesInfo().filter((kind) => /UDP|TCP/.test(kind)).length;
  const manners: Readonly<Record<string, readonly [Script, (server: DnsServer) => Promise<unknown>]>> = {
    "has just begun": [() => [], async () => {}],
    "waits for an answer": [() => [], (server) => server.heard(2)],
    "waits on a connection": [
      ({ via }) => (via === "udp" ? { truncated: true } : []),
      (server) => server.heard(4),
    ],
  };
  for (const [manner, [script, until]] of Object.entries(manners)) {
    const server = await startDnsServer(t, script);
    const before = sockets();
    const { source, clock, told } = followed(t, [server]);
    await until(server);
    source.stop();
    // A connection that the server has accepted ends when it hears of that.
    while (sockets() > before) await settled();
    t.equal(clock.pending, 0, manner);
    const asked = server.asked.length;
    clock.advance(1_000_000);
    await settled();
    t.same([told, server.asked.length, clock.pending], [[], asked, 0], manner);
  }
  for (const script of [zone(a(NAME, "10.0.0.1")), () => SERVFAIL]) {
    const server = await startDnsServer(t, script);
    const before = sockets();
    const { source, clock, told, nth } = followed(t, [server]);
    await nth(1);
    source.stop();
    while (sockets() > before) await settled();
    clock.advance(1_000_000);
    await settled();
    t.same([told.length, clock.pending], [1, 0]);
  }
});

test("what DNS cannot be asked for is refused in words", async (t) => {
  const parts = { clock: new ManualClock(), random: seededRandom(1), log: logInto([]).log };
  const make = (options: Partial<DnsOptions>) => () =>
    new DnsSource({ name: NAME, type: "A", port: 80, minTtlMs: 1, maxTtlMs: 2, ...options }, parts);
  for (const name of [
    "",
    ".",
    "a..b",
    `${"a".repeat(64)}.mesh`,
    "bücher.mesh",
    "a b",
    `${"a.".repeat(127)}ab`,
  ])
    t.throws(make({ name }), /expected a domain name/, name);
  t.throws(make({ port: undefined }), /expected a port with the type A of orders\.mesh, got none/);
  t.throws(
    make({ resolver: ["10.0.0.1:53", "ns.mesh:53"] }),
    /expected a server such as 10\.0\.0\.2:53, got "ns\.mesh:53"/,
  );
  t.throws(make({ minTtlMs: 3 }), /expected minTtlMs up to 2, got 3/);
  t.doesNotThrow(make({ name: "orders.mesh." }));
});

test("servers are understood as people and the system write them", async (t) => {
  t.same(parseServer("10.0.0.2"), { address: "10.0.0.2", port: 53 });
  t.same(parseServer("10.0.0.2:5300"), { address: "10.0.0.2", port: 5300 });
  t.same(parseServer("::1"), { address: "::1", port: 53 });
  t.same(parseServer("[::1]:5300"), { address: "::1", port: 5300 });
  t.same(parseServer("fe80::1%eth0"), { address: "fe80::1%eth0", port: 53 });
  t.same(parseServer("[fe80::1%eth0]:53"), { address: "fe80::1%eth0", port: 53 });
  for (const text of ["", "host", "10.0.0.1:0", "10.0.0.1:65536", "999.0.0.1", "::1::2"])
    t.throws(() => parseServer(text), text);
});

test("without servers of its own it asks those of the system", async (t) => {
  const ended = new AbortController();
  const asking = new DnsClient(undefined, new ManualClock()).ask({ name: NAME, type: "A" }, ended.signal);
  ended.abort();
  await t.rejects(asking, /called off|no server to ask/);
});

test("a real Consul's instances are listed as it lists them, and followed", {
  skip: withoutConsul,
}, async (t) => {
  const ports = await freePorts(6);
  const consul = new Consul(ports);
  t.teardown(() => consul.kill());
  await consul.start();
  const resolver = [`127.0.0.1:${ports[4]}`];
  const register = (port: number) =>
    consul.tell("/v1/agent/service/register", {
      ID: `orders-${port}`,
      Name: "orders",
      Address: "127.0.0.1",
      Port: port,
      Weights: { Passing: port - 8_000, Warning: 1 },
    });
  const { nth, clock, restMs } = followed(t, [], {
    name: "orders.service.consul",
    type: "SRV",
    port: undefined,
    resolver,
  });
  t.same(await nth(1), [], "nothing is registered yet");
  for (let port = 8_001; port <= 8_008; port++) await register(port);
  const all = Array.from({ length: 8 }, (_, i) => `127.0.0.1:${8_001 + i}${i === 0 ? "" : ` x${i + 1}`}`);
  let count = 1;
  // The agent applies what it was told a moment later.
  for (let told: readonly string[] | string = []; told.length < all.length; told = await nth(count)) {
    clock.advance(restMs());
    count++;
  }
  t.same(await nth(count), all);
  await consul.kill();
  clock.advance(restMs());
  t.match(await nth(count + 1), /ECONNREFUSED/, "and when it is gone, nothing is said of them");
});
