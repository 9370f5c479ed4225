import { EventEmitter, once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { type Test, test } from "tap";
import { openBlackHole } from "../support/black-hole.ts";
import { startInProcess } from "../support/in-process.ts";
import { answering, type RawConnection, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";
import {
  asking,
  closed,
  connected,
  echo,
  message,
  nothingLeft,
  orders,
  switched,
  switching,
  webSocketEndpoint,
} from "../support/web-sockets.ts";

/** Switches at once, and says then whatever it hears. */
function echoing(connection: RawConnection): void {
  connection.until(/\r\n\r\n/).then(
    () => {
      connection.send(switching());
      connection.socket.pipe(connection.socket);
    },
    () => {},
  );
}

/** An endpoint that the kernel lets nobody in to, and says nothing. */
async function fullEndpoint(t: Test): Promise<string> {
  const hole = await openBlackHole();
  t.teardown(() => hole.close());
  return `127.0.0.1:${hole.port}`;
}

test("an endpoint that cannot be reached, resets, closes or has no time before its 101 is replaced by another", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const resetting = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.socket.resetAndDestroy());
  });
  const closing = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      connection.send("HTTP/1.1 101 Switch");
      connection.socket.end();
    });
  });
  const busy = await rawEndpoint(t, answering(textAnswer("later", "HTTP/1.1 503 Busy\r\n")));
  const fine = await rawEndpoint(t, echoing);
  for (const bad of [gone, resetting, closing, busy]) {
    const heddle = await startInProcess(
      t,
      orders(
        [bad.address, fine.address],
        "balancing: { algorithm: roundRobin }, breaker: { enabled: false }",
      ),
    );
    for (let i = 0; i < 4; i++) {
      const client = await switched(t, heddle.addresses.outbound.port);
      client.send("hello");
      await client.until(/^hello$/);
      client.socket.end();
      await client.untilEnd();
    }
    await nothingLeft(t, heddle);
    t.match(
      heddle.access.filter((record) => record["attempts"] === 2),
      Array(2).fill({ status: 101, triedBefore: [bad.address], endpoint: fine.address, cause: undefined }),
    );
  }
});

test("what goes wrong before the 101 has its code, and the caller may go on with its connection", async (t) => {
  const says = (answer: string) =>
    rawEndpoint(t, (connection) => {
      connection.until(/\r\n\r\n/).then(
        () => {
          connection.send(answer);
          if (answer === "") connection.socket.resetAndDestroy();
        },
        () => {},
      );
    });
  const silent = await rawEndpoint(t);
  const start = "HTTP/1.1 101 Switching Protocols\r\n";
  const cases: readonly [address: string, options: string, status: number, code: string][] = [
    [(await says("")).address, "", 502, "upstream_reset"],
    [(await says("HTTP/1.1 2OO Fine\r\n\r\n")).address, "", 502, "bad_response"],
    [(await says(`HTTP/1.1 200 OK\r\nA: ${"a".repeat(100_000)}\r\n\r\n`)).address, "", 502, "bad_response"],
    [(await says(switching("other"))).address, "", 502, "bad_response"],
    [(await says(switching("echo, other"))).address, "", 502, "bad_response"],
    [
      (await says(`${start}\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`)).address,
      "",
      502,
      "bad_response",
    ],
    [(await says(`${start}Connection: Upgrade\r\n\r\n`)).address, "", 502, "bad_response"],
    [(await says(`${start}Upgrade: echo\r\n\r\n`)).address, "", 502, "bad_response"],
    [await fullEndpoint(t), "timeouts: { connect: 100ms }", 502, "connect_timeout"],
    [silent.address, "timeouts: { attempt: 60ms }", 504, "attempt_timeout"],
    [silent.address, "timeouts: { request: 60ms }", 504, "deadline_exceeded"],
  ];
  for (const [address, options, status, code] of cases) {
    const heddle = await startInProcess(t, orders([address], `retries: { attempts: 0 }, ${options}`));
    const client = await rawClient(t, heddle.addresses.outbound.port);
    for (const _ of [1, 2]) {
      client.send(asking());
      const answer = await client.until(/\}\n$/);
      t.match(answer, new RegExp(`^HTTP/1.1 ${status} .*X-Heddle-Error: ${code}`, "s"), `${code} ${options}`);
      t.notMatch(answer, /^(?:connection|upgrade):/im);
      client.take();
    }
    client.socket.end();
    await nothingLeft(t, heddle);
    t.equal(await heddle.metric("heddle_attempts_total", { outcome: code }), 2);
  }
});

test("a refusal that breaks or stops half-way is told like any other answer that does, and a slow caller is no fault of its endpoint's", async (t) => {
  const size = 24_000_000;
  const half = `HTTP/1.1 403 No\r\nContent-Length: ${size}\r\n\r\n`;
  const endpoint = await rawEndpoint(t);
  const heddle = await startInProcess(
    t,
    orders([endpoint.address], "timeouts: { idle: 400ms }, retries: { attempts: 0 }"),
  );
  const { port } = heddle.addresses.outbound;
  const refused = async (number: number) => {
    const client = await rawClient(t, port);
    client.send(asking());
    const server = await endpoint.accepted(number);
    await server.until(/\r\n\r\n$/);
    server.send(`${half}no, `);
    await client.until(/no, $/);
    return { client, server };
  };
  const broken = await refused(0);
  broken.server.socket.resetAndDestroy();
  await broken.client.untilEnd();
  const stopped = await refused(1);
  await stopped.client.untilEnd();
  const left = await refused(2);
  left.client.socket.resetAndDestroy();
  await left.server.untilEnd();
  const slow = await refused(3);
  slow.client.socket.pause();
  slow.server.socket.write(Buffer.alloc(size - 4, "x"));
  // A second one that stops takes its whole time while the first rests.
  await (await refused(4)).client.untilEnd();
  slow.client.socket.resume();
  await slow.client.until(() => slow.client.socket.bytesRead > size);
  slow.client.socket.end();
  await nothingLeft(t, heddle);
  t.match(
    heddle.access.map(({ status, cause }) => [status, cause]),
    [
      [403, "upstream_reset"],
      [403, "response_timeout"],
      [403, "client_closed"],
      [403, "response_timeout"],
      [403, undefined],
    ],
  );
});

test("callers that reset before the 101, at whatever moment, end neither the process nor leave anything in it", async (t) => {
  // A reset while the endpoint has not answered is what ends a process with http-proxy alone.
  const asked = new EventEmitter();
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(
      (head) => {
        const number = Number(/X-Number: (\d+)/.exec(head)![1]);
        asked.emit(`${number}`);
        // Every third one answers, into the reset.
        if (number % 3 === 0) setImmediate(() => connection.send(`${switching()}hello`));
      },
      () => {},
    );
  });
  // The time-out is for those who have sent early bytes: heddle reads no further, and sees them go only then. Where the machine takes
  // longer for the rest, those are enough to open a breaker, and nobody would arrive any more.
  const { admin, addresses, end } = await startSidecar(t, {
    upstreams: {
      orders: {
        endpoints: [endpoint.address],
        upgrades: ["echo"],
        timeouts: { attempt: "500ms" },
        breaker: { mode: "off" },
      },
    },
  });
  for (let i = 0; i < 100; i++) {
    const client = await rawClient(t, addresses.outbound.port);
    const arrived = once(asked, `${i}`);
    client.send(asking("echo", `X-Number: ${i}`) + (i % 4 === 0 ? "early" : ""));
    // One half when the endpoint has the request, the other before anything is known of them.
    if (i % 2 === 1) await arrived;
    client.socket.resetAndDestroy();
  }
  while ((await admin.json<unknown[]>("/requests")).length > 0);
  while ((await admin.metric("heddle_pool_connections", { state: "busy" })) > 0);
  t.equal(await admin.metric("heddle_connections"), 0);
  t.equal(await end(), 0, "it has lived, and ends well");
});

test("callers and endpoints that reset within their tunnels, a hundred of each, leave nothing behind", async (t) => {
  const endpoint = await rawEndpoint(t, echoing);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  for (const side of ["caller", "endpoint"])
    for (let wave = 0; wave < 5; wave++) {
      const before = endpoint.connections.length;
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => switched(t, heddle.addresses.outbound.port)),
      );
      for (const [i, client] of clients.entries()) {
        // In the middle of something, for every second one.
        if (i % 2 === 0) client.send("x".repeat(300_000));
        if (side === "caller") client.socket.resetAndDestroy();
        else endpoint.connections[before + i]!.socket.resetAndDestroy();
      }
      await Promise.all(clients.map((client) => client.untilEnd()));
      await heddle.sidecar.listeners[0]!.until(() => heddle.sidecar.listeners[0]!.exchanges.size === 0);
    }
  await nothingLeft(t, heddle);
  t.equal(await heddle.metric("heddle_requests_total", { status: "101", cause: "client_closed" }), 100);
  t.equal(await heddle.metric("heddle_requests_total", { status: "101", cause: "upstream_reset" }), 100);
  t.equal(heddle.sidecar.upstreams.get("orders")!.endpoints[0]!.breaker.state, "closed", "they had switched");
});

test("a caller that goes on speaking when its endpoint has ended and then gone is let go of", async (t) => {
  const endpoint = await rawEndpoint(t, echoing);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await switched(t, heddle.addresses.outbound.port);
  const { socket } = endpoint.connections[0]!;
  socket.end("bye");
  t.equal(await client.untilEnd(), "bye");
  socket.resetAndDestroy();
  client.send("are you there?");
  await nothingLeft(t, heddle);
  t.match(heddle.access, [{ status: 101, cause: "upstream_reset" }]);
});

test("a tunnel that carries nothing for tunnelIdle ends, and one that carries something either way does not", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, orders([endpoint.address], "timeouts: { tunnelIdle: 1s }"));
  const { port } = heddle.addresses.outbound;
  const idle = await switched(t, port);
  const asks = await switched(t, port);
  const listens = await switched(t, port);
  let over = false;
  const speak = async (from: RawConnection, to: RawConnection) => {
    while (!over) {
      from.send(".");
      await to.until(/\.$/);
      to.take();
    }
  };
  const busy = [speak(asks, endpoint.connections[1]!), speak(endpoint.connections[2]!, listens)];
  await Promise.all([idle.untilEnd(), endpoint.connections[0]!.untilEnd()]);
  t.match(await heddle.logged(() => true), { status: 101, cause: undefined, detail: "tunnel_idle" });
  // Another, of which the endpoint's half has ended before.
  const half = await switched(t, port);
  endpoint.connections[3]!.socket.end();
  await half.untilEnd();
  // Neither caller ends its side.
  await heddle.sidecar.listeners[0]!.until(() => heddle.sidecar.listeners[0]!.connections === 2);
  over = true;
  await Promise.all(busy);
  t.equal(await heddle.metric("heddle_requests_in_flight"), 2, "the busy ones go on");
  for (const { socket } of [asks, listens]) socket.resetAndDestroy();
  for (const { socket } of endpoint.connections) socket.end();
  await nothingLeft(t, heddle);
});

test("an upgrade that serves as the probe closes the breaker with its 101, and not only when it ends", async (t) => {
  let broken = true;
  const endpoint = await rawEndpoint(t, (connection) => {
    if (broken) connection.socket.resetAndDestroy();
    else echoing(connection);
  });
  const breaker = "breaker: { consecutiveFailures: 1, openFor: 50ms }, retries: { attempts: 0 }";
  const heddle = await startInProcess(t, orders([endpoint.address], breaker));
  const { breaker: state } = heddle.sidecar.upstreams.get("orders")!.endpoints[0]!;
  const client = await rawClient(t, heddle.addresses.outbound.port);
  client.send(asking());
  await client.until(/ 502 .*\}\n$/s);
  t.equal(state.state, "open");
  broken = false;
  client.take();
  for (let answer = ""; !answer.startsWith("HTTP/1.1 101 "); ) {
    client.send(asking());
    answer = await client.until(/X-Heddle-Error: breaker_open.*\}\n$|^HTTP\/1.1 101 .*\r\n\r\n$/s);
    client.take();
  }
  t.equal(state.state, "closed", "while the tunnel is open");
  const others = await Promise.all([1, 2, 3].map(() => switched(t, heddle.addresses.outbound.port)));
  for (const { socket } of [client, ...others]) socket.resetAndDestroy();
  await nothingLeft(t, heddle);
});

test("limits.connections counts tunnels: one too many is refused, and their ends make room", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then((head) => {
      if (head.includes("Upgrade")) connection.send(switching());
      else connection.send(textAnswer("plain"));
    });
  });
  const heddle = await startInProcess(t, orders([endpoint.address], "limits: { connections: 2 }"));
  const { port } = heddle.addresses.outbound;
  const caller = await rawClient(t, port);
  const plain = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";
  caller.send(plain);
  await caller.until(/plain$/);
  caller.take();
  const first = await switched(t, port);
  t.equal(await heddle.metric("heddle_pool_connections", { state: "idle" }), 1);
  const second = await switched(t, port);
  t.equal(await heddle.metric("heddle_pool_connections", { state: "idle" }), 0, "an unused one made room");
  const third = await rawClient(t, port);
  third.send(asking());
  t.match(await third.until(/\}\n$/), /^HTTP\/1.1 503 .*X-Heddle-Error: overflow/s);
  third.take();
  // A plain request waits for a place.
  caller.send(plain);
  while ((await heddle.metric("heddle_pending_requests")) === 0);
  first.socket.resetAndDestroy();
  t.match(await caller.until(/plain$/), /^HTTP\/1.1 200 /);
  // Its connection is unused now, and makes room in its turn.
  third.send(asking());
  await third.until(/^HTTP\/1.1 101 .*\r\n\r\n/s);
  t.equal(await heddle.metric("heddle_pool_connections", { state: "busy" }), 2);
  for (const { socket } of [caller, second, third]) socket.resetAndDestroy();
  await nothingLeft(t, heddle);
});

test("a tunnel outlives its endpoint's place in discovery", async (t) => {
  const endpoint = await webSocketEndpoint(t, echo);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await connected(t, heddle.addresses.outbound.port);
  heddle.sidecar.upstreams.get("orders")!.update([]);
  client.send("still there?");
  t.equal(await message(client), "still there?");
  client.close(1000);
  t.equal(await closed(client), "1000");
  await nothingLeft(t, heddle);
});

test("a route's own limits hold for its upgrades, and a refusal may pause for longer than an attempt", async (t) => {
  const silent = await rawEndpoint(t);
  const refusing = await rawEndpoint(t, (connection) => {
    void connection.until(/\r\n\r\n$/).then(async () => {
      connection.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nn");
      await pause(150);
      connection.send("o");
    });
  });
  for (const [{ address }, expected] of [
    [silent, /^HTTP\/1.1 504 .*X-Heddle-Error: attempt_timeout.*\}\n$/s],
    [refusing, /^HTTP\/1.1 403 .*\r\n\r\nno$/s],
  ] as const) {
    const heddle = await startInProcess(
      t,
      `${orders([address], "retries: { attempts: 0 }")}
routes: [{ match: { host: orders }, to: [{ upstream: orders }], timeouts: { attempt: 50ms } }]`,
    );
    const client = await rawClient(t, heddle.addresses.outbound.port);
    client.send(asking());
    t.match(await client.until(/\r\n\r\n(?:no$|\{.*\}\n$)/), expected);
  }
});
