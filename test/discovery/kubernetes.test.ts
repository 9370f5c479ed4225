import { once } from "node:events";
import { test } from "tap";
import { mergeSlices, readSlice } from "../../discovery/kubernetes/slices.ts";
import { KubernetesSources } from "../../discovery/kubernetes/sources.ts";
import { WatchLines } from "../../discovery/kubernetes/watch-lines.ts";
import { Heard, KubernetesApiServer, RestlessClock, refuse, slice } from "../support/kubernetes-api.ts";
import { followed } from "../support/kubernetes-follower.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { logInto } from "../support/sidecar.ts";

const read = (object: unknown, port?: string | number) => readSlice(object, { port, source: "kubernetes:x" });
const merged = (...slices: unknown[]) => mergeSlices(slices.map((each) => read(each)!));
const endpoint = (address: string, conditions: object, more: object = {}) => ({
  addresses: [address],
  conditions,
  ...more,
});

test("a slice becomes instances, sorted and with their zone", async (t) => {
  const endpoints = [
    endpoint("10.0.0.2", { ready: true }, { zone: "b", hints: { forZones: [{ name: "a" }] } }),
    endpoint("10.0.0.1", {}),
  ];
  const common = { port: 8080, weight: 1, source: "kubernetes:x", health: "passing" };
  t.same(merged({ ...slice("a", []), metadata: { name: "a", resourceVersion: "1" }, endpoints }), [
    { address: "10.0.0.1", ...common },
    { address: "10.0.0.2", zone: "b", ...common },
  ]);
});

const stamped = (name: string, more: object = {}, addresses: string[] = ["10.0.0.1"]) =>
  slice(name, addresses, { metadata: { name, resourceVersion: "1" }, ...more });

test("a pod that terminates is in maintenance while it serves, and critical when it is not ready", async (t) => {
  const healthOf = (conditions: object) => {
    const [instance] = merged(stamped("a", { endpoints: [endpoint("10.0.0.1", conditions)] }));
    return [instance?.health, instance?.note];
  };
  t.same(healthOf({ ready: true }), ["passing", undefined]);
  t.same(healthOf({ ready: null }), ["passing", undefined], "unknown is to be read as ready");
  t.same(healthOf({ ready: false, serving: true, terminating: true }), ["maintenance", "terminating"]);
  t.same(healthOf({ ready: false, serving: false, terminating: true }), ["critical", "not ready"]);
  t.same(healthOf({ ready: false, serving: false, terminating: false }), ["critical", "not ready"]);
  t.same(healthOf({ ready: false }), ["critical", "not ready"]);
  t.same(
    healthOf({ ready: true, serving: true, terminating: true }),
    ["passing", undefined],
    "published anyway",
  );
});

test("the labels of a slice are the metadata of its endpoints where that is wanted", async (t) => {
  const of = (labels: unknown, wanted = true) =>
    readSlice(stamped("a", { metadata: { name: "a", resourceVersion: "1", labels } }), {
      port: undefined,
      source: "kubernetes:x",
      labelled: wanted,
    })?.instances[0];
  t.strictSame(of({ track: "canary", odd: 1 })?.labels, { meta: { track: "canary" } });
  t.strictSame(of(undefined)?.labels, { meta: {} });
  t.strictSame(of(null)?.labels, { meta: {} });
  t.notOk("labels" in of({ track: "canary" }, false)!);
});

test("slices of IPv4, IPv6 and names are merged", async (t) => {
  const all = merged(
    stamped("a", { addressType: "IPv6" }, ["fd00::1"]),
    stamped("b", {}, ["10.0.0.1"]),
    stamped("c", { addressType: "FQDN" }, ["orders.example"]),
  );
  t.same(
    all.map(({ address }) => address),
    ["10.0.0.1", "fd00::1", "orders.example"],
  );
});

test("an endpoint that is in several slices is one, and the ready one wins in whatever order", async (t) => {
  const slices = [
    stamped("a", { endpoints: [endpoint("10.0.0.1", { ready: false })] }),
    stamped("b", { endpoints: [endpoint("10.0.0.1", { ready: true }, { zone: "b" })] }),
    stamped("c", { endpoints: [endpoint("10.0.0.1", { ready: false, serving: true, terminating: true })] }),
    stamped("d", { endpoints: [endpoint("10.0.0.1", { ready: true }, { zone: "d" })] }),
  ];
  for (const order of [slices, slices.toReversed()]) {
    const all = merged(...order);
    t.equal(all.length, 1);
    t.match(all[0], { health: "passing", zone: "b" });
  }
});

test("a port is chosen by name, by number, or is the first of TCP", async (t) => {
  const ports = [
    { name: "dns", port: 53, protocol: "UDP" },
    { name: "http", port: 8080 },
    { name: "metrics", port: 9090, protocol: "TCP" },
  ];
  const chosen = (port: string | number | undefined, of: unknown = ports) => {
    const reading = read(stamped("a", { ports: of }), port);
    return reading?.instances[0]?.port ?? reading?.fault;
  };
  t.equal(chosen(undefined), 8080);
  t.equal(chosen("metrics"), 9090);
  t.equal(chosen(9090), 9090);
  t.equal(chosen("grpc"), 'slice a: no TCP port "grpc"; there is http (8080), metrics (9090)');
  t.equal(chosen(53), "slice a: no TCP port 53; there is http (8080), metrics (9090)");
  t.equal(chosen(7000, null), 7000, "a slice without ports restricts none");
  t.equal(chosen(7000, [{ name: "", port: null }]), 7000);
  t.equal(chosen(undefined, []), "slice a: it names no port, and none is given by its number");
});

test("what is odd in a slice is left out and named, what is no slice at all is not read", async (t) => {
  t.match(read(stamped("a", { addressType: "Carrier" })), {
    instances: [],
    fault: /"Carrier" are not known/,
  });
  t.match(read(stamped("a", { endpoints: [{ addresses: [] }, null, endpoint("10.0.0.1", {})] })), {
    instances: [{ address: "10.0.0.1" }],
    fault: "slice a: 2 endpoints without a usable address",
  });
  t.same(read(stamped("a", { endpoints: null, ports: null }))?.fault, undefined, "empty is not odd");
  for (const odd of [null, 1, "x", [], {}, { metadata: { name: "a" } }]) t.equal(read(odd), undefined);
});

const object = (name: string) => ({ metadata: { name, resourceVersion: "7" }, note: "Größe 🧵 \u2028" });

test("events of a watch may be split at any byte, also within a character", async (t) => {
  const events = [
    { type: "ADDED", object: object("a") },
    { type: "BOOKMARK", object: object("b") },
    { type: "ERROR", object: { code: 410, message: "zu alt – 🧵" } },
  ];
  const bytes = Buffer.from(events.map((each) => `${JSON.stringify(each)}\r\n`).join("\n"));
  const expected = [
    { type: "ADDED", object: object("a"), version: "7" },
    { type: "BOOKMARK", version: "7" },
    { type: "ERROR", code: 410, message: "zu alt – 🧵" },
  ];
  for (let cut = 0; cut <= bytes.length; cut++) {
    const lines = new WatchLines();
    const said = [...lines.push(bytes.subarray(0, cut)), ...lines.push(bytes.subarray(cut))];
    if (JSON.stringify(said) !== JSON.stringify(expected)) t.same(said, expected, `cut at ${cut}`);
  }
  const single = new WatchLines();
  t.same(
    [...bytes].flatMap((byte) => single.push(Uint8Array.of(byte))),
    expected,
  );
});

test("a line that is too long, or no event, is an error and not a loss", async (t) => {
  const lines = new WatchLines(10);
  t.same(lines.push(Buffer.from("\n".repeat(50))), [], "many short lines are not a long one");
  lines.push(Buffer.from("x".repeat(10)));
  t.throws(() => lines.push(Buffer.from("x")), /longer than 10 bytes/);
  for (const [text, why] of [
    ["<html>", /not JSON/],
    ["null", /not an event/],
    ['{"type":"PATCHED","object":{}}', /not an event/],
    ['{"type":"ADDED","object":{}}', /ADDED without a resourceVersion/],
  ] as const)
    t.throws(() => new WatchLines().push(Buffer.from(`${text}\n`)), why);
});

test("all slices are listed once, and followed from there", async (t) => {
  const { server, heard, watched, source } = await followed(t);
  await heard.listed(1);
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2"]);
  t.equal(heard.lists[0]![0]!.source, source.name);
  t.equal(source.name, "kubernetes:shop/orders");
  await watched(1);
  t.same(Object.fromEntries(server.asked[1]!.query), {
    labelSelector: "kubernetes.io/service-name=orders",
    watch: "true",
    resourceVersion: "101",
    allowWatchBookmarks: "true",
    timeoutSeconds: server.asked[1]!.query.get("timeoutSeconds"),
  });
  server.put(slice("orders-b", ["10.0.0.3"]));
  await heard.listed(2);
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  server.put(slice("orders-a", ["10.0.0.2"]));
  await heard.listed(3);
  t.same(heard.addresses, ["10.0.0.2", "10.0.0.3"]);
  server.remove("orders-b");
  await heard.listed(4);
  t.same(heard.addresses, ["10.0.0.2"]);
  t.same([server.count("list"), server.count("watch"), heard.silences], [1, 1, []]);
  t.equal(server.connections, 1, "list and watch share a connection");
});

test("a Service without slices has no instances, which is known at once", async (t) => {
  const { heard } = await followed(t, { server: await new KubernetesApiServer().start(t) });
  await heard.listed(1);
  t.same(heard.lists, [[]]);
});

test("nothing is said before the last page of the list has come", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  for (let i = 0; i < 250; i++) server.put(slice(`orders-${i}`, [`10.0.1.${i}`]));
  const { heard } = await followed(t, { server });
  const saidBefore: number[] = [];
  server.on("asked", ({ verb }) => verb === "list" && saidBefore.push(heard.lists.length));
  await heard.listed(1);
  t.same([server.count("list"), saidBefore.at(-1), heard.lists[0]?.length], [3, 0, 250]);
});

test("a list whose rest has been forgotten begins anew", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  for (let i = 0; i < 150; i++) server.put(slice(`orders-${i}`, [`10.0.1.${i}`]));
  server.on("asked", ({ query }) => {
    if (query.has("continue") && server.asked.length === 2) server.compact();
  });
  const { heard } = await followed(t, { server });
  await heard.listed(1);
  t.match(heard.silences, [/410: The provided continue parameter is too old/]);
  t.equal(heard.lists[0]?.length, 150);
});

test("times of watches differ from source to source, from 240 to 300 s", async (t) => {
  const times = new Set<number>();
  const server = await new KubernetesApiServer().start(t);
  for (let seed = 0; seed < 20; seed++) {
    const { source, watched } = await followed(t, { server, seed });
    await watched(seed + 1);
    times.add(Number(server.asked.at(-1)!.query.get("timeoutSeconds")));
    source.stop();
  }
  t.ok(times.size > 10, `${times.size} of 20`);
  t.ok(Math.min(...times) >= 240 && Math.max(...times) <= 300);
});

test("a watch that ends goes on from its last version, bookmarks included, without a list", async (t) => {
  const { server, heard, watched } = await followed(t);
  await watched(1);
  server.bookmark();
  server.endWatches();
  await watched(2);
  t.equal(server.asked.at(-1)!.query.get("resourceVersion"), server.version);
  server.compact();
  server.bookmark();
  server.put(slice("orders-b", ["10.0.0.3"]));
  server.endWatches();
  await watched(3);
  t.equal(server.asked.at(-1)!.query.get("resourceVersion"), server.version);
  t.same([server.count("list"), heard.silences], [1, []]);
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
});

test("a watch that is cut at any byte goes on where it was understood, and loses nothing", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  const follow = async (cutAfterBytes: number) => {
    server.restart(100, [slice("orders-a", ["10.0.0.1", "10.0.0.2"])]);
    const [lists, watches] = [server.count("list"), server.count("watch")];
    const { heard, source, watched } = await followed(t, { server });
    await watched(watches + 1);
    server.cutAfterBytes = cutAfterBytes;
    server.put(slice("b", ["10.0.0.3"], { note: "Größe 🧵" }));
    server.put(slice("orders-a", ["10.0.0.2"]));
    server.remove("b");
    server.put(slice("c", ["10.0.0.4"]));
    await heard.until(() => heard.addresses?.join() === "10.0.0.2,10.0.0.4");
    source.stop();
    server.off("asked", heard.touch);
    return [server.count("list") - lists, server.count("watch") - watches, heard.silences.length];
  };
  t.same(await follow(Number.POSITIVE_INFINITY), [1, 1, 0], "uncut");
  const length = server.toldBytes;
  for (let cut = 0; cut < length - 1; cut++) {
    const asked = await follow(cut);
    if (asked.join() !== "1,2,0") t.same(asked, [1, 2, 0], `cut at ${cut} of ${length}`);
  }
});

test("a version that is too old is no outage: all is listed again, whenever it is said", async (t) => {
  const { server, heard, watched, records } = await followed(t);
  await watched(1);
  server.put(slice("orders-b", ["10.0.0.3"]));
  server.say('{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}\n');
  await watched(2);
  t.equal(server.count("list"), 2, "in the middle of a watch");
  server.compact();
  server.endWatches();
  await watched(4);
  t.equal(server.count("list"), 3, "as the first event of the next");
  server.instead = (_, response) => {
    server.instead = undefined;
    refuse(response, 410, "Expired");
  };
  server.endWatches();
  await watched(6);
  t.equal(server.count("list"), 4, "as its status");
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  t.same(heard.silences, []);
  t.equal(records.filter(({ msg }) => msg.includes("listed again")).length, 3);
});

test("a server that comes back with an earlier version is listed anew and believed", async (t) => {
  const { server, heard, watched } = await followed(t);
  await watched(1);
  server.restart(7, [slice("orders-z", ["10.0.0.9"])]);
  await heard.until(() => heard.addresses?.join() === "10.0.0.9");
  t.match(heard.silences, [/answers 504: Too large resource version: 101/]);
  await watched(3);
  t.equal(server.asked.at(-1)!.query.get("resourceVersion"), "8");
});

test("what is not an answer is an outage, and never a loss", async (t) => {
  const { server, heard, watched } = await followed(t);
  await watched(1);
  const whole = JSON.stringify({ kind: "EndpointSliceList", metadata: { resourceVersion: "1" }, items: [] });
  const answers: readonly (readonly [string, RegExp])[] = [
    ["<html>busy</html>", /not JSON/],
    ["null", /not a list of EndpointSlices/],
    ['{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}', /not a list of EndpointSlices/],
    ['{"kind":"EndpointSliceList","items":[]}', /not a list of EndpointSlices/],
    [whole.replace("[]", "5"), /not a list of EndpointSlices/],
    [whole.replace("[]", "[{}]"), /without a name or version/],
  ];
  const before = heard.lists.length;
  for (const [body, why] of answers) {
    server.instead = (_, response) => response.end(body);
    server.cut();
    await heard.silenced(heard.silences.length + 1);
    await heard.until(() => why.test(heard.silences.at(-1)!));
  }
  server.instead = (_, response) => {
    response.writeHead(200, { "content-length": whole.length });
    response.write(whole.slice(0, -5), () => response.socket?.destroy());
  };
  await heard.until(() => /answer breaks off/.test(heard.silences.at(-1)!));
  server.instead = (_, response) => refuse(response, 500, "etcd has no leader");
  await heard.until(() => /answers 500: etcd has no leader/.test(heard.silences.at(-1)!));
  server.instead = (_, response) => {
    response.writeHead(302, { location: "/login" }).end();
  };
  await heard.until(() => /answers 302: no reason that Kubernetes/.test(heard.silences.at(-1)!));
  t.equal(heard.lists.length, before, "nothing of it is listed");
  server.instead = undefined;
  await heard.listed(before + 1);
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2"]);
});

test("a watch that says what is no event is an outage", async (t) => {
  const { server, heard, watched } = await followed(t);
  for (const text of ["<html>\n", '{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}\n']) {
    await watched(heard.silences.length + 1);
    server.say(text);
    await heard.silenced(heard.silences.length + 1);
  }
  t.match(heard.silences, [/not JSON/, /a slice without a name or version/]);
  await watched(3);
  t.same([server.count("list"), heard.addresses], [3, ["10.0.0.1", "10.0.0.2"]]);
});

test("a server that does not answer is given 30 s, and a watch 15 s more than it was asked for", async (t) => {
  const { server, clock, heard, watched } = await followed(t);
  await watched(1);
  const lastsMs = Number(server.asked.at(-1)!.query.get("timeoutSeconds")) * 1000;
  server.put(slice("orders-b", ["10.0.0.3"]));
  await heard.listed(2);
  clock.advance(lastsMs + 14_000);
  server.put(slice("orders-b", ["10.0.0.4"]));
  await heard.listed(3);
  clock.advance(lastsMs + 14_000);
  t.same(heard.silences, [], "every byte counts");
  server.instead = () => {};
  const asked = once(server, "asked");
  clock.advance(1_000);
  await asked;
  t.match(heard.silences, [/has been silent for \d{3} s/]);
  clock.advance(29_999);
  t.equal(heard.silences.length, 1);
  clock.advance(1);
  await heard.silenced(2);
  t.match(heard.silences[1], /has been silent for 30 s/);
});

test("a server that is not there is asked again after pauses that grow and spread out", async (t) => {
  const sums = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const server = await new KubernetesApiServer().start(t);
    await server.stop();
    const { clock, heard, source } = await followed(t, { server, seed });
    await heard.silenced(8);
    source.stop();
    t.match(heard.silences[0], /does not answer: .*ECONNREFUSED/);
    t.ok(Math.min(...clock.restsMs) >= 50 && Math.max(...clock.restsMs) <= 20_050, String(clock.restsMs));
    sums.add(Math.round(clock.restsMs.reduce((sum, rest) => sum + rest) / 100));
  }
  t.ok(sums.size > 10, `${sums.size} different sums of 20`);
});

test("a server that is busy is left alone for as long as it asks", async (t) => {
  const { server, clock, heard, watched } = await followed(t);
  await watched(1);
  server.instead = (_, response) => {
    server.instead = undefined;
    response.setHeader("retry-after", "7");
    refuse(response, 429, "too many requests");
  };
  server.endWatches();
  await watched(3);
  t.match(heard.silences, [/answers 429: too many requests/]);
  t.ok(Math.max(...clock.restsMs) >= 7_000);
});

test("a server whose watches end at once is not asked in a busy loop, nor believed for ever", async (t) => {
  const { server, clock, watched } = await followed(t);
  const begunMs = clock.now();
  server.watchesEnd = true;
  await watched(14);
  t.ok(clock.now() - begunMs >= ((3 + 14 - 5) / 0.5) * 1000, `${clock.now() - begunMs} ms`);
  t.equal(server.count("list"), 3, "a list after every five watches that say nothing");
});

test("a kept connection that the server has closed meanwhile is no outage", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  server.on("asked", ({ verb }) => {
    if (verb === "watch") server.instead = undefined;
    if (server.count("watch") === 1) server.instead = (request) => request.socket.destroy();
  });
  const { heard, watched } = await followed(t, { server });
  await watched(2);
  t.same([server.count("list"), server.connections, heard.silences], [1, 2, []]);
});

test("slices that cannot be used are logged once, and the others are used", async (t) => {
  const { server, heard, records } = await followed(t, { port: "http" });
  await heard.listed(1);
  server.put(slice("orders-b", ["10.0.0.3"], { ports: [{ name: "grpc", port: 9000 }] }));
  await heard.listed(2);
  server.put(slice("orders-c", ["10.0.0.4"]));
  await heard.listed(3);
  t.same(heard.addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
  const said = records.filter(({ level }) => level === "warn");
  t.equal(said.length, 1);
  t.match(said[0], { faults: ['slice orders-b: no TCP port "http"; there is grpc (9000)'] });
});

test("after stop nothing is said, and no socket or timer is left", async (t) => {
  for (const during of ["connecting", "listing", "watching", "pausing"]) {
    const server = await new KubernetesApiServer().start(t);
    if (during === "listing") server.instead = () => {};
    if (during === "pausing") server.instead = (_, response) => refuse(response, 500, "no");
    const { clock, heard, source, watched } = await followed(t, { server });
    if (during === "listing") await once(server, "asked");
    if (during === "watching") await watched(1);
    if (during === "pausing") await heard.silenced(1);
    const said = heard.lists.length + heard.silences.length;
    source.stop();
    source.stop();
    await server.deserted();
    server.put(slice("orders-b", ["10.0.0.3"]));
    clock.advance(600_000);
    t.same([heard.lists.length + heard.silences.length, clock.pending], [said, 0], during);
  }
});

test("sources of one server share its connections, and the last to stop closes them", async (t) => {
  const server = await new KubernetesApiServer().start(t);
  const clock = new RestlessClock();
  const kubernetes = new KubernetesSources({});
  const options = { service: "orders", namespace: "shop", server: server.url };
  const parts = { clock, random: seededRandom(1), log: logInto([]).log };
  const sources = [1, 2].map(() => kubernetes.create(options, parts));
  const heard = new Heard();
  server.on("asked", heard.touch);
  for (const source of sources) source.start(heard);
  await heard.until(() => server.count("watch") === 2);
  sources[0]!.stop();
  server.put(slice("orders-a", ["10.0.0.1"]));
  await heard.until(() => heard.addresses?.length === 1);
  sources[1]!.stop();
  await server.deserted();
  t.equal(server.connections, 2);
  t.throws(() => kubernetes.create({ service: "orders" }, parts), /KUBERNETES_SERVICE_HOST is not set/);
});
