import { once } from "node:events";
import type { Socket } from "node:net";
import { type Test, test } from "tap";
import type { Random } from "../../core/index.ts";
import { systemClock } from "../../proxy/system.ts";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint } from "../support/raw.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { asking, nothingLeft, orders, switched, switching } from "../support/web-sockets.ts";

const SEED = 20261121;
const LONGEST = 400_000;
/** What either side says, from its first byte on: no byte can be lost, doubled or moved unseen. */
const SPEECH = Buffer.from(Array.from({ length: 4_000_000 }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff));

/** One end of a tunnel: it says its speech piece by piece, and checks that it hears the other's from its beginning. */
class Side {
  readonly socket: Socket;
  said = 0;
  heard = 0;
  garbled = false;
  ended = false;
  /** Nothing was cut off on this side. */
  orderly = true;
  readonly closed: Promise<void>;

  constructor(socket: Socket, firstBytes: Buffer) {
    this.socket = socket;
    socket.removeAllListeners("data");
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => resolve());
    });
    socket.on("end", () => {
      this.ended = true;
    });
    if (firstBytes.length > 0) this.#hear(firstBytes);
    socket.on("data", (bytes: Buffer) => this.#hear(bytes));
  }

  say(length: number): void {
    if (this.socket.writableEnded || this.said + length > SPEECH.length) return;
    this.socket.write(SPEECH.subarray(this.said, this.said + length));
    this.said += length;
  }

  cut(how: "destroy" | "resetAndDestroy"): void {
    const { socket } = this;
    this.orderly = false;
    // Node loses a socket that is reset while its end is being sent.
    if (socket.writableEnded && !socket.writableFinished) socket.destroy();
    else socket[how]();
  }

  /** Hears the rest, and ends. */
  async finish(): Promise<void> {
    const { socket } = this;
    socket.resume();
    if (!socket.writableEnded) socket.end();
    await this.closed;
  }

  #hear(bytes: Buffer): void {
    if (!bytes.equals(SPEECH.subarray(this.heard, this.heard + bytes.length))) this.garbled = true;
    this.heard += bytes.length;
  }
}

/** Lets the event loop go round. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
}

/** Cuts the head off, which must have been received whole. */
function beyondHead(received: string): Buffer {
  return Buffer.from(received.slice(received.indexOf("\r\n\r\n") + 4), "latin1");
}

function act(side: Side, random: Random): void {
  const chance = random.next();
  if (chance < 0.35) side.say(Math.floor(random.next() * 2000));
  else if (chance < 0.5) side.say(Math.floor(random.next() * LONGEST));
  else if (chance < 0.65) side.socket.pause();
  else if (chance < 0.8) side.socket.resume();
  else if (chance < 0.9) side.socket.end();
  else if (chance < 0.95) side.cut("destroy");
  else side.cut("resetAndDestroy");
}

/** Lets both sides act in turn, with the event loop going round between them. */
async function live(sides: readonly [Side, Side], random: Random): Promise<void> {
  for (let acts = Math.floor(random.next() * 12); acts > 0; acts--) {
    act(sides[random.next() < 0.5 ? 0 : 1], random);
    await turns(Math.floor(random.next() * 4));
  }
  await Promise.all(sides.map((side) => side.finish()));
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
