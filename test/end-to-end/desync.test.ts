import { test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint } from "../support/raw.ts";

/** One upstream with one endpoint, no retries, and few reasons to open a second connection. */
function yaml(address: string, more = ""): string {
  return `upstreams: { orders: { endpoints: ["${address}"], retries: { attempts: 0 }${more} } }`;
}

test("a body that the endpoint did not ask for cannot become the next caller's request", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, metric } = await startInProcess(t, yaml(endpoint.address));
  const client = await rawClient(t, addresses.outbound.port);
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: orders\r\n\r\n";
  const head = `POST / HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: ${smuggled.length}\r\n\r\n`;
  client.send(head);
  const connection = await endpoint.accepted(0);
  await connection.until(/Expect: 100-continue/);
  // The caller does not wait for leave, and the endpoint answers without having given it.
  client.send(smuggled);
  await connection.until(/smuggled/);
  connection.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
  await client.until(/^HTTP\/1\.1 404 /);
  t.equal(await metric("heddle_pool_connections", { state: "idle" }), 0, "the connection is not used again");
  await connection.untilEnd();
});

test("a fault in the body that comes with the head is a 502, and no answer that breaks off", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () =>
      connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
    );
  });
  const { addresses } = await startInProcess(t, yaml(endpoint.address));
  const client = await rawClient(t, addresses.outbound.port);
  client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  t.match(await client.until(/malformed/), /^HTTP\/1\.1 502 .*x-heddle-error: bad_response/is);
});

test("an answer that lies there before its request has left is nobody's answer", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", (bytes) => {
      if (String(bytes).includes("/first"))
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
      else connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
    });
  });
  const { addresses } = await startInProcess(t, yaml(endpoint.address));
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 20; i++) {
    client.send("GET /first HTTP/1.1\r\nHost: orders\r\n\r\n");
    await client.until(/first$/);
    client.take();
    // In one turn, the request first: heddle has taken the connection, and written nothing, when it reads the answer.
    client.send("GET /second HTTP/1.1\r\nHost: orders\r\n\r\n");
    endpoint.connections.at(-1)!.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray");
    t.notMatch(await client.until(/(?:second|stray)$/), /stray/);
    client.take();
  }
});

test("a 204 has no length, even in answer to HEAD", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => connection.send("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"));
  });
  const { addresses } = await startInProcess(t, yaml(endpoint.address));
  const client = await rawClient(t, addresses.outbound.port);
  client.send("HEAD / HTTP/1.1\r\nHost: orders\r\n\r\n");
  t.notMatch(await client.until(/\r\n\r\n$/), /content-length/i);
});

test("a body of which nothing has come ends with its connection, and is not taken from what follows", async (t) => {
  const endpoint = await rawEndpoint(t, () => {});
  const { addresses } = await startInProcess(t, yaml(endpoint.address));
  const client = await rawClient(t, addresses.outbound.port);
  client.send("POST / HTTP/1.1\r\nHost: nobody\r\nContent-Length: 40\r\n\r\n");
  await client.until(/no_route/);
  client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  t.equal((await client.untilEnd()).match(/HTTP\/1\.1 /g)!.length, 1, "one answer");
  t.equal(endpoint.connections.length, 0);
});
