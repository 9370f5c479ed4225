import { once } from "node:events";
import type { Socket } from "node:net";
import { type Test, test } from "tap";
import { systemClock } from "../../proxy/system.ts";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint } from "../support/raw.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { live, Side, SPEECH, turns } from "../support/two-sides.ts";
import { asking, nothingLeft, orders, switched, switching } from "../support/web-sockets.ts";

const SEED = 20261121;
/** Cuts the head off, which must have been received whole. */
function beyondHead(received: string): Buffer {
  return Buffer.from(received.slice(received.indexOf("\r\n\r\n") + 4), "latin1");
}

async function open(t: Test, port: number, accepted: (number: number) => Promise<Side>, number: number) {
  const client = await rawClient(t, port);
  client.send(asking("echo", `X-Number: ${number}`));
  await client.until(/\r\n\r\n/);
  return [new Side(client.socket, beyondHead(client.received)), await accepted(number)] as const;
}

test("an end waits behind all that a slow side has not taken yet, and is not lost when the other has gone", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const timers = systemClock.pending;
  for (const [number, toServer] of [true, false].entries()) {
    const client = await switched(t, heddle.addresses.outbound.port);
    const server = endpoint.connections[number]!;
    const [from, to] = (toServer ? [client, server] : [server, client]).map(({ socket }) => socket) as [
      Socket,
      Socket,
    ];
    const before = to.bytesRead;
    to.removeAllListeners("data");
    to.pause();
    // With the reader's own end told, the writer's connection closes with its last byte.
    to.end();
    await (toServer ? client : server).untilEnd();
    let written = 0;
    for (let i = 0; i < 12; i++) from.write(SPEECH, () => written++);
    from.end();
    let last = -1;
    while (last !== written + to.bytesRead) {
      last = written + to.bytesRead;
      for (let i = 0; i < 10; i++) await heddle.admin("/live");
    }
    t.ok(written < 12, `${written} of 12 pieces are on their way`);
    const ended = once(to, "end");
    to.resume();
    await ended;
    t.equal(
      to.bytesRead - before,
      12 * SPEECH.length,
      `${toServer ? "the server" : "the client"} has them all`,
    );
    await nothingLeft(t, heddle);
  }
  t.equal(await heddle.metric("heddle_requests_total", { status: "101", cause: "" }), 2);
  t.equal(systemClock.pending, timers, "no timer");
});

test("the last pieces of an endpoint that has gone wait in heddle for a slow caller", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const timers = systemClock.pending;
  const client = await switched(t, heddle.addresses.outbound.port);
  const server = endpoint.connections[0]!;
  const before = client.socket.bytesRead;
  client.socket.removeAllListeners("data");
  client.socket.pause();
  client.socket.end();
  await server.untilEnd();
  const piece = SPEECH.subarray(0, 16 * 1024);
  let sent = 0;
  // So many that the kernel takes no more of heddle, and six on top.
  for (let held = 0; held < 6; ) {
    server.send(piece);
    sent += piece.length;
    await turns(4);
    if (heddle.sidecar.listeners[0]!.unread) held++;
  }
  const gone = once(server.socket, "close");
  server.socket.end();
  await gone;
  await heddle.admin("/live");
  const ended = once(client.socket, "end");
  client.socket.resume();
  await ended;
  t.equal(client.socket.bytesRead - before, sent);
  await nothingLeft(t, heddle);
  t.match(heddle.access, [{ status: 101, cause: undefined }]);
  t.equal(systemClock.pending, timers, "no timer");
});

test("however the two ends of a tunnel speak, rest, end and break, what is heard is what was said, and nothing is left", async (t) => {
  const waiting = new Map<number, PromiseWithResolvers<Side>>();
  const accepted = (number: number) => {
    const found = waiting.get(number) ?? Promise.withResolvers<Side>();
    waiting.set(number, found);
    return found;
  };
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then((head) => {
      connection.send(switching());
      accepted(Number(/X-Number: (\d+)/.exec(head)![1])).resolve(
        new Side(connection.socket, beyondHead(connection.received)),
      );
    });
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const timers = systemClock.pending;
  const random = seededRandom(SEED);
  const tunnels = 600;
  let orderly = 0;
  for (let begun = 0; begun < tunnels; begun += 30) {
    await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const number = begun + i;
        const own = seededRandom(Math.floor(random.next() * 2 ** 32));
        const [client, server] = await open(
          t,
          heddle.addresses.outbound.port,
          (n) => accepted(n).promise,
          number,
        );
        await live([client, server], own);
        if (client.garbled || server.garbled) t.fail(`tunnel ${number} is garbled`);
        if (client.heard > server.said || server.heard > client.said) t.fail(`${number} has heard too much`);
        if (!client.orderly || !server.orderly) return;
        orderly++;
        if (client.heard !== server.said || server.heard !== client.said)
          t.fail(`of tunnel ${number} something is missing, though both sides ended it well`);
      }),
    );
  }
  t.comment(`${orderly} of ${tunnels} ended well`);
  t.ok(orderly > tunnels / 5 && orderly < (tunnels * 4) / 5, `${orderly}`);
  await nothingLeft(t, heddle);
  t.equal(await heddle.metric("heddle_requests_total"), tunnels);
  t.equal(systemClock.pending, timers, "no timer");
});
