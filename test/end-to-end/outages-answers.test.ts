import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "tap";
import type { Teardown } from "../support/apps.ts";
import { withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Load, Replica } from "../support/mesh.ts";
import { Bill, PER_SECOND } from "../support/outage.ts";
import { startSidecar } from "../support/sidecar.ts";

/** Stands before an agent, and spoils what it says. */
class Spoiler {
  /** Undefined passes everything on as it is. */
  spoil: ((response: ServerResponse, body: string) => void) | undefined;
  readonly #server: Server;
  readonly #agent: string;

  constructor(t: Teardown, agent: string) {
    this.#agent = agent;
    this.#server = createServer((request, response) => {
      const asked = httpRequest(
        `${this.#agent}${request.url}`,
        { method: request.method ?? "GET", headers: { ...request.headers, connection: "close" } },
        (answer) => {
          let body = "";
          answer.setEncoding("utf8").on("data", (part: string) => {
            body += part;
          });
          answer.once("end", () => {
            const { "content-length": _, ...headers } = answer.headers;
            response.writeHead(answer.statusCode ?? 500, headers);
            if (this.spoil === undefined) response.end(body);
            else this.spoil(response, body);
          });
        },
      );
      asked.on("error", () => response.destroy());
      response.on("close", () => asked.destroy());
      request.pipe(asked);
    });
    t.teardown(() => {
      this.#server.close();
      this.#server.closeAllConnections();
    });
  }

  /** Also cuts what is asked at the moment, so that the next answer is a spoilt one. */
  spoils(how: Spoiler["spoil"]): void {
    this.spoil = how;
    this.#server.closeAllConnections();
  }

  async start(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
}

test("no request fails when the agent answers nonsense", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t);
  const spoiler = new Spoiler(t, cluster.client.address);
  const address = await spoiler.start();
  const [port] = await freePorts(1);
  const replica = await new Replica(t, { address: cluster.client.address }, "orders-0", port!).start(t);
  const caller = await startSidecar(t, {
    upstreams: { orders: { follow: "always" } },
    discovery: { consul: { address } },
    telemetry: { accessLog: false },
  });
  const load = new Load("orders", caller);
  await load.lists([replica]);
  load.begin(t, PER_SECOND);
  const nonsense: Readonly<Record<string, Spoiler["spoil"]>> = {
    HTML: (response) => response.end("<html><body>Please log in</body></html>"),
    "half a JSON": (response, body) => response.end(body.slice(0, body.length / 2)),
    "half a JSON, and then the connection is cut": (response, body) => {
      response.write(body.slice(0, body.length / 2));
      setImmediate(() => response.destroy());
    },
    "an empty answer": (response) => response.end(),
    "an empty object": (response) => response.end("{}"),
    null: (response) => response.end("null"),
    "a list of nonsense": (response) => response.end('[{"Service":{}},7,null]'),
    "something that is not HTTP": (response) => response.socket?.end("220 mail ESMTP\r\n"),
  };
  for (const [what, spoil] of Object.entries(nonsense)) {
    const bill = new Bill(load);
    spoiler.spoils(spoil);
    await eventually("silence", async () => (await load.state()) === "silent");
    await load.go(PER_SECOND);
    spoiler.spoils(undefined);
    await load.hears();
    await load.lists([replica]);
    bill.pay(t, `the agent answers ${what}`);
  }
  await load.end();
});

test("a start without a registry uses the copy on disk, and one with a damaged copy says so", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t);
  const own = { address: cluster.client.address };
  const [port] = await freePorts(1);
  const replica = await new Replica(t, own, "orders-0", port!).start(t);
  const copy = join(t.testdir({}), "endpoints.json");
  const configuration = {
    upstreams: { orders: {} },
    discovery: { consul: own, outage: { copy } },
    telemetry: { accessLog: false },
  };
  await eventually("the registration", async () => {
    const listed = await cluster.client.ask<unknown[]>("/v1/health/service/orders?passing");
    return listed.length === 1;
  });
  const before = await startSidecar(t, configuration);
  const first = new Load("before", before);
  first.begin(t, PER_SECOND);
  await first.go(PER_SECOND);
  await first.end();
  t.same(first.faults, []);
  t.equal(await before.end(), 0);
  const written = await readFile(copy, "utf8");
  t.match(written, `"port\\":${replica.address.split(":")[1]}`);

  await Promise.all([cluster.server.kill(), cluster.client.kill()]);
  await t.test("a cold start while everything is down", async (t) => {
    const caller = await startSidecar(t, configuration);
    const load = new Load("cold", caller);
    const bill = new Bill(load);
    load.begin(t, PER_SECOND);
    await load.go(2 * PER_SECOND);
    await load.end();
    bill.pay(t, "a start without a registry");
    t.equal(await load.state(), "copy");
    t.equal(await caller.end(), 0);
  });

  await Promise.all([cluster.server.start(), cluster.client.start()]);
  await cluster.whole();
  for (const [how, text] of Object.entries({
    "cut in the middle": written.slice(0, written.length / 2),
    "with a wrong byte": written.replace(/127\.0\.0\.1/, "127.0.0.9"),
    empty: "",
    "not ours": "<html></html>",
  })) {
    await t.test(`a copy that is ${how}`, async (t) => {
      await writeFile(copy, text);
      const caller = await startSidecar(t, configuration);
      const load = new Load("damaged", caller);
      const bill = new Bill(load);
      load.begin(t, PER_SECOND);
      await load.go(2 * PER_SECOND);
      await load.end();
      bill.pay(t, `a copy that is ${how}`);
      await caller.until(({ msg }) => msg.includes("moved aside"));
      t.equal(await readFile(`${copy}.damaged`, "utf8"), text, "nothing is lost");
      t.equal(await load.state(), "current");
      t.equal(await caller.end(), 0);
    });
  }
});
