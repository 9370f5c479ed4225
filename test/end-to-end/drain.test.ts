import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { answering, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

test("SIGTERM lets inbound requests finish, keeps the way out open for them, refuses new ones, and exits with 0", async (t) => {
  const app = await rawEndpoint(t);
  const peer = await rawEndpoint(t, answering(textAnswer("peer")));
  const sidecar = await startSidecar(t, {
    service: { name: "web", port: app.port },
    upstreams: { orders: { endpoints: [peer.address] } },
    shutdown: { grace: "10s" },
  });
  const { inbound, outbound } = sidecar.addresses;
  t.equal((await sidecar.admin.ask("/ready")).status, 200);
  const caller = await rawClient(t, inbound!.port);
  caller.send("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n");
  const inApp = await app.accepted(0);
  await inApp.until(/\r\n\r\n$/);

  sidecar.signal("SIGTERM");
  while ((await sidecar.admin.ask("/ready")).status === 200);
  t.equal((await sidecar.admin.ask("/live")).status, 200, "alive while it drains");
  // The port closes a moment after the sidecar says so.
  for (let refused = false; !refused; )
    refused = await rawClient(t, inbound!.port).then(
      () => false,
      () => true,
    );
  const call = await rawClient(t, outbound.port);
  call.send(GET);
  t.match(await call.until(/peer$/), /^HTTP\/1.1 200 /, "the app still reaches its peers");
  inApp.send(textAnswer("done"));
  t.match(
    await caller.untilEnd(),
    /^HTTP\/1.1 200 .*Connection: close\r\n.*done$/s,
    "and finishes its request",
  );
  call.socket.destroy();
  await sidecar.until(({ msg }) => msg === "drained");
  t.equal(await sidecar.end(), 0, "exit code");
});

test("the grace is the limit of a drain, and what it abandons is told", async (t) => {
  const app = await rawEndpoint(t);
  const sidecar = await startSidecar(t, {
    service: { name: "web", port: app.port },
    shutdown: { grace: "300ms" },
  });
  const caller = await rawClient(t, sidecar.addresses.inbound!.port);
  caller.send("GET /never HTTP/1.1\r\nHost: web\r\n\r\n");
  await (await app.accepted(0)).until(/\r\n\r\n$/);
  const startedAt = Date.now();
  t.equal(await sidecar.end(), 0);
  t.comment(`ended after ${Date.now() - startedAt} ms`);
  t.ok(sidecar.records.some(({ abandoned }) => abandoned === 1));
});

test("a second signal ends at once", async (t) => {
  const app = await rawEndpoint(t);
  const sidecar = await startSidecar(t, {
    service: { name: "web", port: app.port },
    shutdown: { grace: "1h" },
  });
  const caller = await rawClient(t, sidecar.addresses.inbound!.port);
  caller.send("GET /never HTTP/1.1\r\nHost: web\r\n\r\n");
  await (await app.accepted(0)).until(/\r\n\r\n$/);
  sidecar.signal("SIGTERM");
  while ((await sidecar.admin.ask("/ready")).status === 200);
  t.equal(await sidecar.end(), 0);
});

test("POST /drain drains as a signal does, and GET does not", async (t) => {
  const app = await rawEndpoint(t, answering(textAnswer("app")));
  const sidecar = await startSidecar(t, {
    service: { name: "web", port: app.port },
    shutdown: { grace: "1s" },
  });
  t.equal((await sidecar.admin.ask("/drain")).status, 405);
  t.equal((await sidecar.admin.ask("/ready")).status, 200);
  t.equal((await sidecar.admin.ask("/drain", "POST")).status, 202);
  await sidecar.until(({ msg }) => msg === "drained");
  t.equal(await sidecar.end(), 0);
});

test("a signal after POST /drain is no impatience: what is under way is finished", async (t) => {
  const app = await rawEndpoint(t);
  const sidecar = await startSidecar(t, {
    service: { name: "web", port: app.port },
    shutdown: { grace: "10s" },
  });
  const caller = await rawClient(t, sidecar.addresses.inbound!.port);
  caller.send("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n");
  const inApp = await app.accepted(0);
  await inApp.until(/\r\n\r\n$/);
  await sidecar.admin.ask("/drain", "POST");
  const ended = sidecar.end();
  while ((await sidecar.admin.ask("/requests")).text === "[]\n");
  inApp.send(textAnswer("done"));
  t.match(await caller.untilEnd(), /^HTTP\/1.1 200 .*done$/s);
  t.equal(await ended, 0);
});

test("a log that cannot be written stops neither the traffic nor the end", {
  skip: !existsSync("/dev/full"),
}, async (t) => {
  const endpoint = await rawEndpoint(t, answering(textAnswer("peer")));
  const folder = t.testdir({
    "heddle.yaml": `outbound: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:${await freePort()} }\nupstreams: { orders: { endpoints: ["${endpoint.address}"] } }\nshutdown: { grace: 1s }\n`,
  });
  const admin = /admin: \{ listen: (\S+) \}/.exec(readFileSync(`${folder}/heddle.yaml`, "utf8"))![1]!;
  const full = openSync("/dev/full", "w");
  const child = spawn(process.execPath, [HEDDLE, "run", "--config", `${folder}/heddle.yaml`], {
    stdio: ["ignore", full, "inherit"],
  });
  closeSync(full);
  t.teardown(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const ready = async () => (await fetch(`http://${admin}/ready`)).status === 200;
  while (!(await ready().catch(() => false)));
  // The log has been given up by now, or will be: both must leave the admin port answering.
  for (let i = 0; i < 20; i++) t.ok(await ready());
  child.kill("SIGTERM");
  t.same(await exited, [0, null]);
});

test("a port that is taken is said plainly, and the exit code is 1", async (t) => {
  const taken = await rawEndpoint(t);
  const failed = startSidecar(t, {
    outbound: { listen: `127.0.0.1:${taken.port}` },
    upstreams: { orders: { endpoints: ["127.0.0.1:1"] } },
  });
  await t.rejects(failed, /could not start: listen EADDRINUSE: address already in use 127.0.0.1:\d+/);
});

test("the demo shows its mesh, serves its callers, and ends cleanly on Ctrl-C, also while it is starting", async (t) => {
  const run = (...more: string[]) =>
    spawn(process.execPath, [HEDDLE, "demo", ...more], { stdio: ["ignore", "pipe", "pipe"] });
  const child = run("--rate", "100");
  t.teardown(() => child.kill("SIGKILL"));
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
  });
  const shows = async (pattern: RegExp) => {
    while (!pattern.test(shown)) await once(child.stdout, "data");
  };
  await shows(/Ctrl-C ends it/);
  const url = /curl (http:\/\/127.0.0.1:\d+\/) /.exec(shown)![1]!;
  const answer = await fetch(url);
  t.equal(answer.status, 200);
  t.match(await answer.text(), /^order from replica \d/);
  await shows(/callers of web: \d+ requests/);
  t.match(shown, /orders 3 {2}fails a third/);
  child.kill("SIGINT");
  const [code, signal] = await once(child, "exit");
  t.same([code, signal], [0, null]);
  await t.rejects(fetch(url), "the sidecars have ended, too");

  const early = run();
  await once(early.stdout, "data");
  // Impatient: the second one must not leave the sidecars behind.
  early.kill("SIGINT");
  early.kill("SIGINT");
  t.same(await once(early, "exit"), [0, null]);
});
