import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { type Test, test } from "tap";
import { freePorts } from "../support/free-ports.ts";
import { startInProcess } from "../support/in-process.ts";
import { APP_UID, answersHttp, type Pod, startPeer, startPod, withoutPods } from "../support/pod.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

/** Addresses of nobody: what is sent there arrives only where it is redirected. */
const NOWHERE = { v4: "203.0.113.7", v6: "2001:db8::7" };
const VIRTUAL = { v4: "10.96.0.10", v6: "fd00:96::10" };
const OTHER_UID = 2000;

const get = (host: string) => `GET /7 HTTP/1.1~Host: ${host}~Connection: close~~`;

/** The app of the pod: HTTP on port 3000, and two more ports on which it says its name. */
const APP = `
const net = require("node:net");
const { createServer } = require("node:http");
createServer((q, a) => a.end("app, by " + (q.headers.via ?? "nobody") + "!")).listen(3000, "::", () => {
  for (const port of [9998, 9999]) net.createServer((s) => s.end("port " + port + "!")).listen(port, "::");
  console.log("up");
});
`;

async function startMesh(t: Test, redirection: readonly string[], more: object = {}) {
  const pod = await startPod(t);
  const orders = await startPeer(t, answersHttp("orders!"));
  const db = await startPeer(t, (heard) => (heard === "" ? "db!" : undefined));
  const stranger = await startPeer(t, (heard) =>
    heard === "" ? undefined : heard.startsWith("GET") ? answersHttp("stranger!")(heard) : `echo ${heard}!`,
  );
  await pod.start(APP_UID, () => true, process.execPath, "-e", APP);
  const sidecar = await pod.sidecar({
    service: { name: "web", port: 3000 },
    inbound: { mode: "transparent" },
    outbound: { mode: "transparent", detectTimeout: "300ms" },
    upstreams: {
      orders: { endpoints: [`${pod.v4.host}:${orders.port}`], upgrades: ["websocket"] },
      db: {
        protocol: "tcp",
        endpoints: [`${pod.v4.host}:${db.port}`],
        virtualAddresses: [`${VIRTUAL.v4}:7000`, `[${VIRTUAL.v6}]:7000`],
      },
    },
    ...more,
  });
  pod.redirect("up", ...redirection);
  return { pod, orders, db, stranger, sidecar };
}

/** Says something to the pod from outside, and resolves to what comes back. @param localAddress whence, if not as usual */
function fromOutside(
  t: Test,
  host: string,
  port: number,
  words: string,
  localAddress?: string,
): Promise<string> {
  const socket = connect({ port, host, ...(localAddress === undefined ? {} : { localAddress }) });
  t.teardown(() => socket.destroy());
  socket.write(words.replaceAll("~", "\r\n"));
  let heard = "";
  return new Promise((resolve) => {
    socket.on("data", (bytes) => {
      heard += bytes.toString("latin1");
      if (heard.includes("!")) resolve(heard);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(heard + error.code));
    socket.on("end", () => resolve(heard));
  });
}

const counted = (pod: Pod, as: string, to: string, direction = "outbound") =>
  pod.metric("heddle_intercepted_total", { direction, as, to });

for (const backend of ["nft", "iptables"] as const)
  test(`an app reaches its peers through its sidecar without knowing of it, and they it, by ${backend}`, {
    skip: withoutPods,
  }, async (t) => {
    const { pod, orders, db, stranger } = await startMesh(t, [
      ...["--with", backend, "--exclude-uids", String(OTHER_UID)],
      ...["--exclude-inbound-ports", "9998"],
    ]);
    for (const family of ["v4", "v6"] as const) {
      await t.test(`by ${family}`, async (t) => {
        const { host, inside } = pod[family];
        const mesh = await counted(pod, "http", "mesh");
        t.match(await pod.speak(NOWHERE[family], 80, get("orders")), /200 OK.*orders!$/s, "by its host");
        t.equal(await counted(pod, "http", "mesh"), mesh + 1);
        t.match(orders.heard.at(-1), /Via: 1.1 heddle/);
        t.equal(await pod.speak(VIRTUAL[family], 7000, ""), "db!", "by its address, the server first");
        t.match(await pod.speak(host, stranger.port, get("elsewhere")), /stranger!$/, "a stranger");
        t.equal(stranger.heard.at(-1), get("elsewhere").replaceAll("~", "\r\n"), "who gets what was sent");
        t.equal(await pod.speak(host, stranger.port, "\x16\x03"), "echo \x16\x03!", "TLS");
        t.equal(await pod.speak(host, stranger.port, "hello"), "echo hello!", "no HTTP");
        t.equal(await pod.speak(host, db.port, ""), "db!", "a server that speaks first");
        t.match(
          await fromOutside(t, inside, 3000, get("web")),
          /app, by 1.1 heddle!/,
          "a peer calls the app",
        );
        t.equal(await fromOutside(t, inside, 9999, ""), "port 9999!", "or another port of it");
        t.equal(await fromOutside(t, inside, 9998, ""), "port 9998!", "or one that is left out");
        t.equal(await fromOutside(t, inside, 15001, get("orders")), "ECONNRESET", "but not its way out");
      });
    }
    const { host } = pod.v4;
    t.match(
      await pod.speak(host, orders.port, get("whoever")),
      /orders!$/,
      "HTTP to the address of an endpoint",
    );
    t.equal(orders.heard.at(-1)!.includes("Via"), true);
    t.match(
      await pod.speak(NOWHERE.v4, 80, get("orders").replace("Host", "|Host")),
      /orders!$/,
      "in two pieces",
    );
    t.equal(
      await pod.speak(host, stranger.port, "^hello"),
      "echo hello!",
      "who has ended its side is still answered",
    );
    t.equal(
      await pod.speak(host, stranger.port, "^GE"),
      "echo GE!",
      "and so is one that has not said enough",
    );
    t.equal(db.heard.length, 4);
    t.equal(await counted(pod, "http", "mesh"), 4);
    t.equal(await counted(pod, "http", "passed"), 2);
    t.equal(await counted(pod, "tls", "passed"), 2);
    t.equal(await counted(pod, "other", "passed"), 4);
    t.equal(
      await counted(pod, "known", "mesh"),
      3,
      "the database by its addresses, and by that of its endpoint",
    );
    t.equal(await counted(pod, "silent", "passed"), 1);
    t.equal(await counted(pod, "known", "mesh", "inbound"), 2);
    t.equal(await counted(pod, "other", "passed", "inbound"), 2, "not the one that is left out");
    t.equal(await pod.metric("heddle_requests_total", { upstream: "db", status: "200" }), 3);
    const before = await pod.metric("heddle_intercepted_total");
    t.match(await pod.speak(pod.v4.host, orders.port, get("orders"), OTHER_UID), /orders!$/, "another user");
    t.notMatch(orders.heard.at(-1), /Via/);
    t.equal(await pod.metric("heddle_intercepted_total"), before);
    t.match(
      await pod.speak("127.0.0.1", 15001, get("orders")),
      /^ECONNRESET$/,
      "the port itself leads nowhere",
    );
    t.equal(await counted(pod, "any", "loop"), 1);
    t.equal(await counted(pod, "any", "loop", "inbound"), 2);
  });

test("what is called by link-local IPv6 is not redirected, and what comes by it is passed on by its own link", {
  skip: withoutPods,
}, async (t) => {
  for (const backend of ["nft", "iptables"]) {
    const { pod } = await startMesh(t, ["--with", backend]);
    const { name, router } = pod.namespace;
    const ip = (words: string) => execFileSync("ip", words.split(" "));
    // A second link: the first one is that of whoever does not say which.
    ip(`-n ${name} link add aside type veth peer name aside netns ${router}`);
    for (const [one, address] of [
      [router, "fe80::a"],
      [name, "fe80::b"],
    ]) {
      ip(`-n ${one} link set aside up`);
      ip(`-n ${one} addr add ${address}/64 dev aside nodad`);
    }
    const serve = `require("node:net").createServer((s) => s.end("neighbour!")).listen(7777, "::", () => console.log("up"))`;
    const neighbour = spawn("ip", ["netns", "exec", router, process.execPath, "-e", serve]);
    t.teardown(() => neighbour.kill());
    await once(neighbour.stdout, "data");
    const before = await pod.metric("heddle_intercepted_total");
    t.equal(await pod.speak("fe80::a%aside", 7777, ""), "neighbour!");
    t.equal(await pod.metric("heddle_intercepted_total"), before, backend);
    const ask = `require("node:net").connect(9999, "fe80::b%aside").on("error", console.log).pipe(process.stdout)`;
    const words = ["netns", "exec", router, process.execPath, "-e", ask];
    t.equal(spawnSync("ip", words, { encoding: "utf8" }).stdout, "port 9999!");
    t.equal(await counted(pod, "other", "passed", "inbound"), 1, "by way of the sidecar");
  }
});

test("a sidecar whose own user is redirected refuses what comes round, and says so", {
  skip: withoutPods,
}, async (t) => {
  const { pod, orders, sidecar } = await startMesh(t, ["--uid", "4242"], { workers: 2 });
  t.match(await pod.speak(NOWHERE.v4, 80, get("orders")), /^HTTP\/1.1 50[234] /, "an answer, and not a wait");
  t.match(await pod.speak(pod.v4.host, orders.port + 1, "\x16"), /ECONNRESET/);
  const loops = await counted(pod, "any", "loop");
  t.ok(loops > 0 && loops < 20, `${loops} were refused`);
  t.equal(orders.heard.length, 0);
  for (const line of sidecar.lines) if (line.includes("leads back")) t.match(JSON.parse(line), { uid: 1337 });
});

test("nor does a connection whose protocol nobody waits for", { skip: withoutPods }, async (t) => {
  const { pod } = await startMesh(t, ["--uid", "4242"], { workers: 2 });
  t.match(await pod.speak(NOWHERE.v4, 5432, "x"), /ECONNRESET/);
  const rounds = await counted(pod, "declared", "passed");
  t.equal(await counted(pod, "any", "loop"), 1);
  t.ok(rounds < 20, `${rounds} rounds`);
});

test("nor does a tunnel of such a sidecar go round", { skip: withoutPods }, async (t) => {
  const { pod, orders } = await startMesh(t, ["--uid", "4242"], { workers: 2 });
  const upgrade = get("orders").replace("close", "close, Upgrade~Upgrade: websocket");
  t.match(await pod.speak(NOWHERE.v4, 80, upgrade), /^HTTP\/1.1 50[234] /);
  const loops = await counted(pod, "any", "loop");
  t.ok(loops > 0 && loops < 20, `${loops} were refused`);
  t.equal(await counted(pod, "http", "mesh"), 1, "the app's own and no other");
  t.equal(orders.heard.length, 0);
});

test("without rules, whoever calls its port calls nobody, and is reset", async (t) => {
  const [port] = await freePorts(1);
  const heddle = await startInProcess(
    t,
    `outbound: { mode: transparent, listen: 127.0.0.1:${port} }
upstreams: { orders: { endpoints: [127.0.0.1:1] } }`,
  );
  for (const host of ["127.0.0.1", "::1"])
    t.equal(await fromOutside(t, host, port!, get("orders")), "ECONNRESET", host);
  t.equal(await fromOutside(t, "127.0.0.1", port!, get("orders"), "127.0.0.2"), "ECONNRESET");
  t.equal(await heddle.metric("heddle_intercepted_total", { direction: "outbound", to: "loop" }), 3);
  t.equal(heddle.records.filter(({ message }) => /leads back/.test(message)).length, 1, "which is said once");
});

test("a Node that cannot ask the kernel does not start, and says what it needs", async (t) => {
  const [port] = await freePorts(1);
  const folder = t.testdir({
    "heddle.yaml": `outbound: { mode: transparent, listen: "127.0.0.1:${port}" }
admin: { listen: "127.0.0.1:0" }
upstreams: { orders: { endpoints: ["127.0.0.1:1"] } }`,
  });
  const words = ["--no-experimental-ffi", HEDDLE, "run", "--config", `${folder}/heddle.yaml`];
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  t.equal(status, 1);
  t.match(stderr, /could not start: mode transparent needs node:ffi, which Node has from 26 on/);
});

test("where strangers may not be called, a request is told so and a connection is reset", {
  skip: withoutPods,
}, async (t) => {
  const { pod, stranger } = await startMesh(t, [], {
    outbound: { mode: "transparent", unknown: "refuse", detectTimeout: "300ms", ports: { 7001: "tcp" } },
  });
  const { host } = pod.v4;
  t.match(await pod.speak(host, stranger.port, get("elsewhere")), /404 .*X-Heddle-Error: no_route/s);
  t.equal(await pod.speak(host, stranger.port, "\x16\x03"), "ECONNRESET");
  t.equal(await pod.speak(NOWHERE.v4, 7001, get("orders")), "ECONNRESET", "declared, and not looked at");
  t.match(await pod.speak(NOWHERE.v4, 7002, get("orders")), /orders!$/);
  t.equal(stranger.heard.length, 0);
  t.equal(await counted(pod, "tls", "refused"), 1);
  t.equal(await counted(pod, "declared", "refused"), 1);
  t.equal(await counted(pod, "http", "refused"), 1);
});

test("what only resembles HTTP is not waited for, and what has begun to speak is waited for no longer than silence", {
  skip: withoutPods,
}, async (t) => {
  const { pod, orders, stranger } = await startMesh(t, [], {
    // A wait for a head would not end here.
    outbound: { mode: "transparent", detectTimeout: "300ms", headTimeout: "1h" },
  });
  const { host } = pod.v4;
  const proxied = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2~GET / HTTP/1.1~~";
  for (const words of ["N", "PUT", "NICK hans~", "CONNECT {}~", "LIST /a~", "SAY /a HTTP/1.1\n\n", proxied])
    t.equal(await pod.speak(host, stranger.port, words), `echo ${words.replaceAll("~", "\r\n")}!`, words);
  t.match(
    await pod.speak(host, orders.port, "LIST /a~~"),
    /^HTTP\/1.1 400 /,
    "an endpoint of the mesh gets none of it",
  );
  t.equal(orders.heard.join(""), "");
});

test("on a port that is declared as HTTP, who says nothing is hung up on, and not carried past the mesh", {
  skip: withoutPods,
}, async (t) => {
  const { pod, sidecar } = await startMesh(t, [], {
    outbound: {
      mode: "transparent",
      detectTimeout: "1ms",
      headTimeout: "500ms",
      ports: { 7003: "http" },
    },
  });
  t.equal(await pod.speak(NOWHERE.v4, 7003, ""), "", "an end");
  t.equal(await counted(pod, "silent", "passed"), 0);
  t.match(await pod.speak(NOWHERE.v4, 7003, get("orders")), /orders!$/);
  t.equal(sidecar.lines.filter((line) => line.includes('"level":"error"')).length, 0);
});
