import { once } from "node:events";
import { connect } from "node:net";
import { test } from "tap";
import { withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { startInProcess } from "../support/in-process.ts";
import { type RawConnection, rawClient, rawEndpoint } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";

/** Says back what it hears. */
const echo = ({ socket }: RawConnection) => void socket.pipe(socket);

test("a drain takes no more connections, lets those finish that do, and cuts off the others when the grace ends", async (t) => {
  const app = await rawEndpoint(t, echo);
  const sidecar = await startSidecar(t, {
    service: { name: "db", port: app.port, protocol: "tcp" },
    shutdown: { grace: "2s" },
  });
  const { port } = sidecar.addresses.inbound!;
  const [finishing, staying] = [await rawClient(t, port), await rawClient(t, port)];
  for (const client of [finishing, staying]) {
    client.send("one");
    await client.until(/one/);
  }
  const cut = once(staying.socket, "error");
  sidecar.signal("SIGTERM");
  for (let refused = false; !refused; )
    refused = await rawClient(t, port).then(
      ({ socket }) => {
        socket.resetAndDestroy();
        return false;
      },
      () => true,
    );
  for (const client of [finishing, staying]) {
    client.send("two");
    await client.until(/two/);
  }
  finishing.socket.end("three");
  t.equal(await finishing.untilEnd(), "onetwothree");
  const [error] = await cut;
  t.equal((error as NodeJS.ErrnoException).code, "ECONNRESET");
  t.equal(await sidecar.exited, 0);
  const endings = sidecar.records.filter(({ method }) => method === "TCP");
  t.equal(
    endings.filter(({ cause, responseBytes }) => cause === undefined && responseBytes === 11).length,
    1,
  );
  t.equal(
    endings.filter(({ cause, responseBytes }) => cause === "shutting_down" && responseBytes === 6).length,
    1,
  );
});

test("workers share the connections of a port, and count them together", async (t) => {
  const server = await rawEndpoint(t, echo);
  const heddle = await startInProcess(
    t,
    `workers: 2
upstreams: { db: { protocol: tcp, localPort: 0, endpoints: [${server.address}], limits: { connections: 64 } } }`,
  );
  const { port } = heddle.addresses.localPorts["db"]!;
  const clients: RawConnection[] = [];
  for (let i = 0; i < 20; i++) {
    const client = await rawClient(t, port);
    clients.push(client);
    client.send("ping");
    await client.until(/ping/);
  }
  t.equal(await heddle.metric("heddle_requests_in_flight", { direction: "outbound" }), 20);
  t.equal(await heddle.metric("heddle_tcp_bytes_total", { from: "caller", upstream: "db" }), 80);
  for (const { socket } of clients) socket.end();
  await Promise.all(clients.map((client) => client.untilEnd()));
  for (let ended = 0; ended < 20; )
    ended = await heddle.metric("heddle_requests_total", { upstream: "db", status: "200" });
  t.equal(await heddle.metric("heddle_requests_in_flight", { direction: "outbound" }), 0);
});

test("a definition in Consul may have upstreams and an app that speak TCP", {
  skip: withoutConsul,
}, async (t) => {
  const [webPublic, local] = await freePorts(2);
  const db = await rawEndpoint(t, (connection) => connection.send("welcome to the db\n"));
  const web = await rawEndpoint(t, (connection) => connection.send("welcome to web\n"));
  const [dbPublic] = await freePorts(1);
  const cluster = await startCluster(t, {
    services: [
      {
        name: "db",
        id: "db-1",
        port: db.port,
        connect: { sidecar_service: { port: dbPublic, proxy: { config: { protocol: "tcp" } } } },
      },
      {
        name: "web",
        id: "web-1",
        port: web.port,
        connect: {
          sidecar_service: {
            port: webPublic,
            proxy: {
              config: { protocol: "tcp" },
              upstreams: [{ destination_name: "db", local_bind_port: local, config: { protocol: "tcp" } }],
            },
          },
        },
      },
    ],
  });
  for (const id of ["db-1", "web-1"])
    await startSidecar(
      t,
      {},
      { words: ["--sidecar-for", id], environment: { CONSUL_HTTP_ADDR: cluster.client.address } },
    );
  const speak = async (port: number) => {
    const socket = connect(port, "127.0.0.1");
    t.teardown(() => socket.destroy());
    const [bytes] = await once(socket, "data");
    return String(bytes);
  };
  t.equal(await speak(webPublic!), "welcome to web\n", "the app behind its sidecar");
  // The agent has yet to find out that it is well.
  await eventually("the other one, behind both sidecars", async () => {
    return (await speak(local!)) === "welcome to the db\n";
  });
});
