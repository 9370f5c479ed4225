import { spawnSync } from "node:child_process";
import dns from "node:dns";
import { getEventListeners, once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { type Test, test } from "tap";
import { type ConsulCall, ConsulClient, ConsulRefusal } from "../../discovery/consul/client.ts";
import type { ConsulOptions } from "../../discovery/consul/options.ts";
import { startApp } from "../support/apps.ts";
import { withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { rawEndpoint } from "../support/raw.ts";

const ORDERS: ConsulCall = { path: "/health/service/{service}", params: { service: "orders" } };
const NEVER_MS = 60_000;
const TOKEN = "VERY-SECRET-7";

function clientOf(t: Test, options: Partial<ConsulOptions>, clock = new ManualClock()): ConsulClient {
  const all = { address: "http://127.0.0.1:1", tls: {}, waitMs: 60_000, ...options };
  const client = new ConsulClient(all, clock);
  t.teardown(() => client.close());
  return client;
}

/** What is thrown, which must be something. */
async function thrownBy(call: Promise<unknown>): Promise<Error> {
  try {
    await call;
  } catch (thrown) {
    return thrown as Error;
  }
  throw new Error("nothing was thrown");
}

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "heddle-client-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Keeps what it was asked, and answers `[]`. */
function keeping(seen: Seen[]): RequestListener {
  return async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    seen.push({ method: request.method, url: request.url, headers: request.headers, body });
    response.writeHead(200, { "content-type": "application/json", "x-consul-index": "12" });
    response.end("[]");
  };
}

test("a call says what is asked, of whom, and with which right, and the right is not in its URL", async (t) => {
  const seen: Seen[] = [];
  const app = await startApp(t, keeping(seen));
  const address = `http://${app.address}`;
  const client = clientOf(t, {
    address,
    token: TOKEN,
    datacenter: "north",
    namespace: "team a",
    partition: "p&q",
    basicAuth: "us:p:w€%",
  });
  const answer = await client.get({
    ...ORDERS,
    params: { service: "or/ders" },
    query: { index: "7", wait: "5s" },
  });
  t.match(answer, { status: 200, headers: { "x-consul-index": "12" }, body: [] });
  await client.put({ path: "/agent/service/register", body: { Name: "orders", Weights: { Passing: 3 } } });
  await client.post({ path: "/discovery-chain/orders", query: { dc: "south" }, body: {} });
  const [get, put, post] = seen;
  const { pathname, searchParams } = new URL(get!.url!, address);
  t.equal(pathname, "/v1/health/service/or%2Fders");
  t.same(Object.fromEntries(searchParams), {
    dc: "north",
    ns: "team a",
    partition: "p&q",
    index: "7",
    wait: "5s",
  });
  t.match(put, { method: "PUT", headers: { "content-type": /^application\/json/ } });
  t.same(JSON.parse(put!.body), { Name: "orders", Weights: { Passing: 3 } }, "every field arrives");
  t.match(post, { method: "POST", url: /dc=south/, body: "{}" }, "what a call says wins");
  for (const { headers, url } of seen) {
    t.equal(headers["x-consul-token"], TOKEN);
    t.notMatch(url, TOKEN);
    t.equal(headers.authorization, `Basic ${Buffer.from("us:p:w€%").toString("base64")}`);
  }
});

test("what is not set is not sent", async (t) => {
  const seen: Seen[] = [];
  const app = await startApp(t, keeping(seen));
  await clientOf(t, { address: `http://${app.address}` }).get(ORDERS);
  const [{ url, headers, body }] = seen as [Seen];
  t.equal(url, "/v1/health/service/orders");
  t.same([headers["x-consul-token"], headers.authorization, body], [undefined, undefined, ""]);
  await clientOf(t, { address: `http://${app.address}`, basicAuth: "us" }).get(ORDERS);
  t.equal(seen[1]?.headers.authorization, `Basic ${Buffer.from("us:").toString("base64")}`, "no password");
});

test("a status is an answer when it is 2xx or accepted, and else a refusal with the agent's reason", async (t) => {
  const long = `rpc error: ${"x".repeat(400)}`;
  const table: readonly [status: number, type: string, said: string, message: string][] = [
    [403, "text/plain", "ACL not found", "the agent answered 403: ACL not found"],
    [500, "text/plain; charset=utf-8", "No cluster\n leader\n", "the agent answered 500: No cluster leader"],
    [500, "text/plain", long, `the agent answered 500: ${long.slice(0, 200)}`],
    [429, "text/plain", "", "the agent answered 429"],
    [502, "text/html", "<html>bad gateway</html>", "the agent answered 502"],
    [502, "text/plain", "  <html>bad gateway</html>", "the agent answered 502"],
    [503, "application/json", "[]", "the agent answered 503"],
    [403, "application/json", "Permission denied", "the agent answered 403: Permission denied"],
    [302, "text/plain", "", "the agent answered 302"],
  ];
  let next = table[0]!;
  const app = await startApp(t, (_, response) => {
    const [status, type, said] = next;
    response.writeHead(status, { "content-type": type, "x-consul-index": "1" });
    response.end(said);
  });
  const client = clientOf(t, { address: `http://${app.address}` });
  for (next of table) {
    const [status, , , message] = next;
    const thrown = await thrownBy(client.get(ORDERS));
    t.ok(thrown instanceof ConsulRefusal, message);
    t.match(thrown, { status, message });
    t.match(
      await client.get({ ...ORDERS, accept: [418, status] }),
      { status },
      "an answer, where it is accepted",
    );
  }
  next = [404, "text/plain", "unknown service ID: x", ""];
  t.match(await client.get({ ...ORDERS, accept: [404] }), { status: 404, body: "unknown service ID: x" });
});

test("what is not what it says it is is an error, or left to who reads it", async (t) => {
  let answer: [type: string, text: string] = ["application/json", '[{"Service":'];
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { "content-type": answer[0] });
    response.end(answer[1]);
  });
  const client = clientOf(t, { address: `http://${app.address}` });
  t.match(await thrownBy(client.get(ORDERS)), { message: /^decode \(application\/json\) failed: / });
  answer = ["text/html", "<html>please log in</html>"];
  t.equal((await client.get(ORDERS)).body, answer[1]);
  answer = ["application/json", ""];
  t.equal((await client.get(ORDERS)).body, undefined);
});

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 7\r\n";

/** What an agent sends before it is cut off, and how it is. */
const CUTS: Readonly<Record<string, [sent: string, end: "end" | "reset", why: RegExp]>> = {
  "in the middle of a body": [`${HEAD}Content-Length: 1000\r\n\r\n[{"Service":`, "end", /cut off|aborted/],
  "in the middle of a body, by a reset": [
    `${HEAD}Content-Length: 1000\r\n\r\n[{"Service":`,
    "reset",
    /cut off|aborted|ECONNRESET/,
  ],
  "between chunks": [`${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n`, "end", /cut off|aborted/],
  "in the middle of a chunk": [`${HEAD}Transfer-Encoding: chunked\r\n\r\nff\r\n[{`, "end", /cut off|aborted/],
  "in the middle of its headers": [HEAD, "end", /socket hang up/],
  "in the middle of its headers, by a reset": [HEAD, "reset", /ECONNRESET|socket hang up/],
  "before anything": ["", "end", /socket hang up/],
  "before anything, by a reset": ["", "reset", /ECONNRESET|socket hang up/],
  "by something that is not HTTP": ["220 mail ESMTP\r\n", "end", /Parse Error/],
};

test("an agent that is cut off is an error at once, and not when the time is up", async (t) => {
  for (const [where, [sent, end, why]] of Object.entries(CUTS)) {
    const agent = await rawEndpoint(t);
    const client = clientOf(t, { address: `http://${agent.address}`, token: TOKEN });
    // The limit never comes: with it, this test would not end in time.
    const call = thrownBy(client.get({ ...ORDERS, timeoutMs: NEVER_MS }));
    const connection = await agent.accepted(0);
    await connection.until(/\r\n\r\n$/);
    await new Promise((resolve) => connection.socket.write(sent, resolve));
    if (end === "end") connection.socket.end();
    else connection.socket.resetAndDestroy();
    const thrown = await call;
    t.match(thrown.message, why, where);
    t.notOk(thrown instanceof ConsulRefusal, `${where}: it has refused nothing`);
    t.notMatch(inspect(thrown, { depth: 9, showHidden: true }), TOKEN);
  }
});

test("a whole body without a length ends with its connection", async (t) => {
  const agent = await rawEndpoint(t);
  const client = clientOf(t, { address: `http://${agent.address}` });
  const call = client.get({ ...ORDERS, timeoutMs: NEVER_MS });
  const connection = await agent.accepted(0);
  await connection.until(/\r\n\r\n$/);
  connection.socket.end(`${HEAD}\r\n[1]`);
  t.same((await call).body, [1]);
});

test("a call takes no longer than it may, however little is sent in between", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    const drip = setInterval(() => response.write(" "), 10);
    response.once("close", () => clearInterval(drip));
  });
  const client = clientOf(t, { address: `http://${app.address}`, token: TOKEN });
  const thrown = await thrownBy(client.get({ ...ORDERS, timeoutMs: 100 }));
  t.equal(thrown.message, "request timed out (100ms)");
  app.answer = () => {};
  t.equal((await thrownBy(client.get({ ...ORDERS, timeoutMs: 100 }))).message, "request timed out (100ms)");
  app.answer = keeping([]);
  t.match(await client.get(ORDERS), { status: 200 }, "and the next call is not troubled by it");
});

test("a call that is called off ends at once, and hangs up", async (t) => {
  const hungUp = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const app = await startApp(t, (_, response) => {
    asked.resolve();
    response.once("close", () => hungUp.resolve());
  });
  const client = clientOf(t, { address: `http://${app.address}` });
  const caller = new AbortController();
  const call = thrownBy(client.get({ ...ORDERS, timeoutMs: NEVER_MS, signal: caller.signal }));
  await asked.promise;
  caller.abort();
  t.match((await call).message, "aborted");
  await hungUp.promise;
  await thrownBy(client.get({ ...ORDERS, signal: caller.signal }));
  t.equal(app.served, 1, "and one that was called off before does not begin");
});

test("a signal that serves for many calls is not kept by them", async (t) => {
  const app = await startApp(t, keeping([]));
  const client = clientOf(t, { address: `http://${app.address}` });
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i++) await client.get({ ...ORDERS, signal });
  await app.stop();
  for (let i = 0; i < 3; i++) await thrownBy(client.get({ ...ORDERS, signal }));
  t.same(getEventListeners(signal, "abort"), []);
});

test("connections are kept for the next call, and closed with the client, also those that are asked on", async (t) => {
  const agent = await rawEndpoint(t);
  const client = clientOf(t, { address: `http://${agent.address}` });
  for (let i = 0; i < 3; i++) {
    const call = client.get(ORDERS);
    const connection = await agent.accepted(0);
    await connection.until(/\r\n\r\n$/);
    connection.take();
    connection.send(`${HEAD}Content-Length: 2\r\n\r\n[]`);
    t.same((await call).body, []);
  }
  t.equal(agent.connections.length, 1);
  const call = thrownBy(client.get({ ...ORDERS, timeoutMs: NEVER_MS }));
  await agent.connections[0]!.until(/\r\n\r\n$/);
  client.close();
  t.match((await call).message, /hang up|cut off|aborted|ECONNRESET/);
  await agent.connections[0]!.untilEnd();
  clientOf(t, {}).close();
  t.pass("one that has never asked closes as well");
});

test("an agent that is not there is an error that says where it was looked for", async (t) => {
  const [port] = await freePorts(1);
  const thrown = await thrownBy(clientOf(t, { address: `http://127.0.0.1:${port}` }).get(ORDERS));
  t.equal(thrown.message, `connect ECONNREFUSED 127.0.0.1:${port}`);
  // A name with several addresses, as `localhost` mostly is, fails with an error that has no message of its own.
  const found = ["127.0.0.1", "127.0.0.2"].map((address) => ({ address, family: 4 }));
  t.capture(dns, "lookup", (_: string, __: object, done: (err: null, found: object[]) => void) =>
    process.nextTick(done, null, found),
  );
  const named = await thrownBy(clientOf(t, { address: `http://consul.test:${port}` }).get(ORDERS));
  t.equal(named.message, "ECONNREFUSED");
});

test("an agent is reached by IPv6", async (t) => {
  const server = createServer(keeping([]));
  t.teardown(() => server.close());
  try {
    await once(server.listen(0, "::1"), "listening");
  } catch {
    t.pass("there is no IPv6 here");
    return;
  }
  const { port } = server.address() as AddressInfo;
  t.match(await clientOf(t, { address: `http://[::1]:${port}` }).get(ORDERS), { status: 200 });
});

test("an agent is reached by a socket of Unix", async (t) => {
  const path = join(await folder(t), "consul.sock");
  const seen: Seen[] = [];
  const server = createServer(keeping(seen)).listen(path);
  t.teardown(() => server.close());
  await once(server, "listening");
  const client = clientOf(t, { address: `unix://${path}`, token: TOKEN, basicAuth: "us:pw" });
  t.match(await client.get(ORDERS), { status: 200, body: [] });
  t.match(seen, [
    { url: "/v1/health/service/orders", headers: { host: "localhost", "x-consul-token": TOKEN } },
  ]);
  const nobody = clientOf(t, { address: `unix://${path}.gone` });
  t.match((await thrownBy(nobody.get(ORDERS))).message, /ENOENT.*consul\.sock\.gone/);
});

test("a token in a file is read again after a while, and at once when it was refused", async (t) => {
  const file = join(await folder(t), "token");
  const seen: Seen[] = [];
  const app = await startApp(t, keeping(seen));
  const clock = new ManualClock();
  const client = clientOf(t, { address: `http://${app.address}`, tokenFile: file }, clock);
  const sent = async () => {
    await client.get(ORDERS);
    return seen.at(-1)?.headers["x-consul-token"];
  };

  const missing = await thrownBy(client.get(ORDERS));
  t.match(missing.message, `expected a token in ${file}, got ENOENT`);
  await writeFile(file, "\n");
  t.match((await thrownBy(client.get(ORDERS))).message, `expected a token in ${file}, got an empty file`);
  t.equal(seen.length, 0, "without a token that there should be, nothing is asked");

  await writeFile(file, "first\n");
  t.equal(await sent(), "first", "and it is looked for with each call until it is there");
  await writeFile(file, "second\n");
  clock.advance(9_999);
  t.equal(await sent(), "first");
  clock.advance(1);
  t.equal(await sent(), "second");

  for (const replaced of ["", "  \n"]) {
    await writeFile(file, replaced);
    clock.advance(10_000);
    t.equal(await sent(), "second", "one that is just being replaced takes none away");
  }
  await rm(file);
  t.equal(await sent(), "second");
  await writeFile(file, "third");
  t.equal(await sent(), "third", "and is looked at with each call until it is back");

  await writeFile(file, "fourth");
  app.answer = (_, response) => {
    response.writeHead(403).end("ACL not found");
  };
  await thrownBy(client.get(ORDERS));
  app.answer = keeping(seen);
  t.equal(await sent(), "fourth", "no time has passed");

  await writeFile(file, "fifth");
  app.answer = (_, response) => {
    response.writeHead(500).end("No cluster leader");
  };
  await thrownBy(client.get(ORDERS));
  app.answer = keeping(seen);
  t.equal(await sent(), "fourth", "other refusals say nothing about it");
});

test("a token that is given makes no file be read", async (t) => {
  const seen: Seen[] = [];
  const app = await startApp(t, keeping(seen));
  const client = clientOf(t, { address: `http://${app.address}`, token: TOKEN, tokenFile: "/nowhere" });
  await client.get(ORDERS);
  t.equal(seen[0]?.headers["x-consul-token"], TOKEN);
});

test("no error carries the token or the password, whatever went wrong", async (t) => {
  const faults: Readonly<Record<string, RequestListener>> = {
    "a refusal": (_, response) =>
      response.writeHead(403, { "content-type": "text/plain" }).end("ACL not found"),
    "a refusal in JSON": (_, response) =>
      response.writeHead(500, { "content-type": "application/json" }).end('{"error":"x"}'),
    "nonsense in JSON": (_, response) =>
      response.writeHead(200, { "content-type": "application/json" }).end("<html>"),
    "a reset": (_, response) => response.destroy(),
    silence: () => {},
    "half a body": (_, response) => {
      response.writeHead(200, { "content-length": "100" }).write("half");
      setImmediate(() => response.destroy());
    },
  };
  for (const [fault, answer] of Object.entries(faults)) {
    const app = await startApp(t, answer);
    const client = clientOf(t, { address: `http://${app.address}`, token: TOKEN, basicAuth: `us:${TOKEN}` });
    for (const method of ["get", "put", "post"] as const) {
      const body = method === "get" ? {} : { body: { Name: "web" } };
      const thrown = await thrownBy(client[method]({ ...ORDERS, ...body, timeoutMs: 200 }));
      t.equal(thrown.cause, undefined, fault);
      t.same(
        Object.keys(thrown).filter((key) => key !== "name" && key !== "status"),
        [],
        `${fault}: nothing of the exchange hangs on it`,
      );
      const all = inspect(thrown, { depth: 9, showHidden: true });
      t.notMatch(all, TOKEN);
      t.notMatch(all, Buffer.from(`us:${TOKEN}`).toString("base64"));
    }
  }
});

interface Authority {
  readonly folder: string;
  readonly file: (name: string) => string;
}

/** An authority, a certificate of it for the name `agent.test` alone, and one for a client; undefined without openssl. */
async function authority(t: Test): Promise<Authority | undefined> {
  const cwd = await folder(t);
  const openssl = (name: string, subject: string, ...more: string[]) =>
    spawnSync(
      "openssl",
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        ...["-subj", `/CN=${subject}`, "-keyout", `${name}.key`, "-out", `${name}.crt`, ...more],
      ],
      { cwd },
    ).status === 0;
  const of = (ca: string) => ["-CA", `${ca}.crt`, "-CAkey", `${ca}.key`];
  const leaf = ["-addext", "basicConstraints=critical,CA:false"];
  const made =
    openssl("ca", "authority") &&
    openssl("other", "another authority") &&
    openssl("agent", "agent", ...of("ca"), ...leaf, "-addext", "subjectAltName=DNS:agent.test") &&
    openssl("client", "client", ...of("ca"), ...leaf) &&
    openssl("stranger", "stranger", ...of("other"), ...leaf);
  return made ? { folder: cwd, file: (name) => join(cwd, name) } : undefined;
}

async function startTls(t: Test, { file }: Authority, more: ServerOptions = {}) {
  const seen: Seen[] = [];
  const [key, cert, ca] = ["agent.key", "agent.crt", "ca.crt"].map((name) => readFileSync(file(name)));
  const server = createTlsServer({ key: key!, cert: cert!, ca: ca!, ...more }, keeping(seen));
  server.on("tlsClientError", () => {});
  t.teardown(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { seen, address: `https://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test("over TLS the agent is believed if its authority and its name are those that are expected", async (t) => {
  const files = await authority(t);
  if (files === undefined) {
    t.plan(0, "there is no openssl here");
    return;
  }
  const { file } = files;
  const caFile = file("ca.crt");
  const serverName = "agent.test";
  const { address, seen } = await startTls(t, files);
  const ask = (tls: ConsulOptions["tls"]) => clientOf(t, { address, tls, token: TOKEN }).get(ORDERS);
  t.match(await ask({ caFile, serverName }), { status: 200, body: [] });
  t.match(await ask({ verify: false }), { status: 200 }, "or if nobody asks");
  t.equal(seen.length, 2);

  const authorities = await folder(t);
  await writeFile(join(authorities, "other.pem"), readFileSync(file("other.crt")));
  await writeFile(join(authorities, "ca.pem"), readFileSync(caFile));
  t.match(await ask({ caDirectory: authorities, serverName }), { status: 200 }, "one of a directory");

  const refused: readonly [string, ConsulOptions["tls"], RegExp][] = [
    ["its authority is not known", { serverName }, /verify|self-signed|issuer/],
    ["its authority is another one", { caFile: file("other.crt"), serverName }, /verify|self-signed|issuer/],
    ["its name is not that of the address", { caFile }, /IP: 127\.0\.0\.1 is not in the cert|does not match/],
    ["its name is another one", { caFile, serverName: "other.test" }, /other\.test/],
  ];
  for (const [why, tls, message] of refused) {
    const thrown = await thrownBy(ask(tls));
    t.match(thrown.message, message, why);
    t.notMatch(inspect(thrown, { depth: 9, showHidden: true }), TOKEN);
  }
  t.equal(seen.length, 3, "and is told nothing");
});

test("over TLS a certificate is shown to an agent that wants one", async (t) => {
  const files = await authority(t);
  if (files === undefined) {
    t.plan(0, "there is no openssl here");
    return;
  }
  const { file } = files;
  const { address, seen } = await startTls(t, files, { requestCert: true, rejectUnauthorized: true });
  const ask = (name: string | undefined) => {
    const shown = name === undefined ? {} : { certFile: file(`${name}.crt`), keyFile: file(`${name}.key`) };
    return clientOf(t, { address, tls: { caFile: file("ca.crt"), serverName: "agent.test", ...shown } }).get(
      ORDERS,
    );
  };
  t.match(await ask("client"), { status: 200 });
  for (const other of [undefined, "stranger"])
    t.match((await thrownBy(ask(other))).message, /certificate|ECONNRESET|hang up|alert/i, other ?? "none");
  t.equal(seen.length, 1);
});

test("a file of TLS that is missing is said with its name, and looked for again with the next call", async (t) => {
  const files = await authority(t);
  if (files === undefined) {
    t.plan(0, "there is no openssl here");
    return;
  }
  const { address } = await startTls(t, files);
  const late = files.file("late.crt");
  for (const tls of [{ caFile: late }, { certFile: late }, { keyFile: late }, { caDirectory: late }]) {
    const thrown = await thrownBy(clientOf(t, { address, tls }).get(ORDERS));
    t.match(thrown.message, late, Object.keys(tls)[0]!);
  }
  const client = clientOf(t, { address, tls: { caFile: late, serverName: "agent.test" } });
  await thrownBy(client.get(ORDERS));
  await writeFile(late, readFileSync(files.file("ca.crt")));
  t.match(await client.get(ORDERS), { status: 200 });
});

test("a real agent with TLS and ACLs is asked with certificates and a token that is renewed", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t, { tls: true, acls: true });
  const { files } = cluster.tls!;
  const tokenFile = join(await folder(t), "token");
  const first = await cluster.createToken({ services: ["orders"] });
  await writeFile(tokenFile, first.secret);
  const tls = { caFile: files.ca, certFile: files.cert, keyFile: files.key, serverName: "client.dc1.consul" };
  const client = clientOf(t, { address: cluster.client.address, tls, tokenFile });
  await client.put({ path: "/agent/service/register", body: { Name: "orders", Port: 1 } });
  await eventually(
    "orders to be listed",
    async () => ((await client.get(ORDERS)).body as unknown[]).length === 1,
  );

  await cluster.revoke(first);
  let thrown: unknown;
  await eventually("the token to be refused", async () => {
    thrown = await client.get(ORDERS).then(
      () => undefined,
      (error: unknown) => error,
    );
    return thrown !== undefined;
  });
  t.match(thrown, { status: 403, message: /^the agent answered 403: .*ACL not found$/ });
  await writeFile(tokenFile, (await cluster.createToken({ services: ["orders"] })).secret);
  t.equal(((await client.get(ORDERS)).body as unknown[]).length, 1, "the new one counts at once");
});
