import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type Test, test } from "tap";
import { systemClock } from "../../proxy/system.ts";
import { startInProcess } from "../support/in-process.ts";
import { type RawConnection, rawEndpoint } from "../support/raw.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { live, Side, turns } from "../support/two-sides.ts";
import { nothingLeft } from "../support/web-sockets.ts";

const SEED = 20261122;
const COUNT = 1000;
const AT_ONCE = 250;
/** A caller says its number first, so that it is known which connection of the endpoint is its other end. */
const NUMBER_BYTES = 4;

/** An endpoint that finds out which of its connections is whose. */
async function paired(t: Test) {
  const sides = new Map<number, PromiseWithResolvers<Side>>();
  const ofNumber = (number: number) => {
    const found = sides.get(number) ?? Promise.withResolvers<Side>();
    sides.set(number, found);
    return found;
  };
  const meet = async (connection: RawConnection) => {
    const heard = await connection.until(({ length }) => length >= NUMBER_BYTES);
    const bytes = Buffer.from(heard, "latin1");
    ofNumber(bytes.readUInt32BE()).resolve(new Side(connection.socket, bytes.subarray(NUMBER_BYTES)));
  };
  const endpoint = await rawEndpoint(t, (connection) => {
    // Of a caller that breaks at once nothing may come.
    meet(connection).catch(() => connection.socket.destroy());
  });
  return { address: endpoint.address, side: (number: number) => ofNumber(number).promise };
}

function call(t: Test, port: number, number: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  t.teardown(() => socket.destroy());
  const bytes = Buffer.alloc(NUMBER_BYTES);
  bytes.writeUInt32BE(number);
  socket.write(bytes);
  return socket;
}

test("however both sides of a thousand connections speak, rest, end and break, what is heard is what was said, and nothing is left", async (t) => {
  const [first, second] = [await paired(t), await paired(t)];
  const heddle = await startInProcess(
    t,
    `upstreams: { db: { protocol: tcp, localPort: 0, endpoints: ["${first.address}", "${second.address}"], limits: { connections: 200, queueTimeout: 1m }, timeouts: { connect: 1m, request: 1m } } }`,
  );
  const { port } = heddle.addresses.localPorts["db"]!;
  const timers = systemClock.pending;
  const random = seededRandom(SEED);
  let orderly = 0;
  const carry = async (number: number) => {
    const own = seededRandom(Math.floor(random.next() * 2 ** 32));
    const socket = call(t, port, number);
    if (own.next() < 0.2) {
      await once(socket, "connect");
      await turns(Math.floor(own.next() * 20));
      const closed = once(socket, "close");
      socket.resetAndDestroy();
      await closed;
      return;
    }
    const client = new Side(socket, Buffer.alloc(0));
    const server = await Promise.race([first.side(number), second.side(number)]);
    await live([client, server], own);
    if (client.garbled || server.garbled) t.fail(`connection ${number} is garbled`);
    if (client.heard > server.said || server.heard > client.said) t.fail(`${number} has heard too much`);
    if (!client.orderly || !server.orderly) return;
    orderly++;
    if (client.heard !== server.said || server.heard !== client.said)
      t.fail(`of connection ${number} something is missing, though both sides ended it well`);
  };
  for (let begun = 0; begun < COUNT; begun += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => carry(begun + i)));
  t.comment(`${orderly} of ${COUNT} ended well`);
  t.ok(orderly > COUNT / 5 && orderly < (COUNT * 4) / 5, `${orderly}`);
  await nothingLeft(t, heddle);
  t.equal(heddle.access.length, COUNT);
  t.equal(await heddle.metric("heddle_requests_total"), COUNT);
  t.equal(await heddle.metric("heddle_pending_requests"), 0);
  const ended = heddle.access.filter(({ status, cause }) => status === 200 && cause === undefined);
  t.ok(ended.length >= orderly, "who has ended well is not blamed");
  for (const { requestId, cause, status } of heddle.access)
    if (cause === "internal_error" || status === 0) t.fail(`${requestId}: ${status} ${cause}`);
  // What is looked at again in a moment has closed meanwhile.
  while (systemClock.pending > timers) await turns(1);
});
