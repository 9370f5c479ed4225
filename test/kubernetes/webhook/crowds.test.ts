import { once } from "node:events";
import { connect as connectPlain, type Socket } from "node:net";
import { connect } from "node:tls";
import { test } from "tap";
import { HeldBytes } from "../../../kubernetes/webhook/held-bytes.ts";
import { POD, type Running, reviewOf, startWebhook } from "../../support/webhook.ts";

const MOST_CONNECTIONS = 1_000;
const BODY = JSON.stringify(reviewOf(POD));

/** Opens so many that say nothing, and resolves when all are there. */
async function crowd(t: { teardown(act: () => void): void }, port: number, many: number): Promise<Socket[]> {
  const sockets = Array.from({ length: many }, () => connectPlain({ host: "127.0.0.1", port }));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (const socket of sockets) socket.on("error", () => {});
  await Promise.all(sockets.map((socket) => socket.readyState !== "open" && once(socket, "connect")));
  return sockets;
}

async function crowdedOut({ shown }: Running): Promise<number> {
  return Number(/^heddle_webhook_crowded_out_total (\d+)$/m.exec((await shown("/metrics")).text)![1]);
}

/** Resolves when so many have been, which is when all that the test sent has come. */
async function crowdedOutOf(running: Running, many: number): Promise<void> {
  while ((await crowdedOut(running)) < many);
}

test("a thousand connections that say nothing keep no review out: the longest without an answer makes room", async (t) => {
  const running = await startWebhook(t);
  const { addresses, api } = running;
  const idle = await crowd(t, addresses.listen.port, MOST_CONNECTIONS);
  const [first] = idle;
  const ended = once(first!, "close");
  first!.resume();
  t.equal((await api.send(BODY)).status, 200);
  await ended;
  t.equal(idle.filter((socket) => socket.closed).length, 1, "and no other");
  t.equal(await crowdedOut(running), 1);
});

test("a connection that is asked and answered outlasts a crowd that came behind it", async (t) => {
  const running = await startWebhook(t);
  const { addresses, api } = running;
  await api.send(BODY);
  // More than there is room for, in two parts, with a review between them.
  await crowd(t, addresses.listen.port, 600);
  t.equal((await api.send(BODY)).reused, true);
  await crowd(t, addresses.listen.port, 600);
  t.equal((await api.send(BODY)).reused, true);
  await crowdedOutOf(running, 201);
  t.equal((await api.send(BODY)).reused, true);
});

test("the health port is kept free in the same way", async (t) => {
  const { addresses, shown } = await startWebhook(t);
  await crowd(t, addresses.health.port, MOST_CONNECTIONS);
  t.equal((await shown("/live")).status, 200);
});

test("callers that hold back large bodies keep no review out: who has held his for the longest is cut off", async (t) => {
  const running = await startWebhook(t);
  const { addresses, api, ca } = running;
  const most = 4 * 1024 * 1024;
  const holding = Array.from({ length: 20 }, () => {
    const socket = connect({ host: "127.0.0.1", port: addresses.listen.port, ca });
    socket.on("error", () => {});
    t.teardown(() => socket.destroy());
    socket.write(
      `POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${most}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(most - 1, " "));
    return socket;
  });
  // 80 MiB want to be held, and 64 may.
  await crowdedOutOf(running, 4);
  for (let i = 0; i < 20; i++) t.equal((await api.send(BODY)).status, 200);
  t.ok((await crowdedOut(running)) <= 5, "one more at most, for the reviews");
  t.equal(holding.filter((socket) => !socket.destroyed).length > 10, true);
});

test("what is held is counted until it is let go, and of those who hold too much together the first is cut off", async (t) => {
  const cut: string[] = [];
  let crowdedOut = 0;
  const held = new HeldBytes(() => crowdedOut++);
  const holder = (name: string) => ({ destroy: () => cut.push(name) });
  const [first, second, third] = [holder("first"), holder("second"), holder("third")];
  const mebibyte = 1024 * 1024;
  held.add(first, mebibyte);
  held.add(second, 40 * mebibyte);
  held.add(first, 23 * mebibyte);
  t.same(cut, [], "64 MiB is what there is room for");
  held.letGo(second);
  held.add(third, 40 * mebibyte);
  t.same(cut, []);
  held.add(third, 1);
  t.same(cut, ["first"], "it began before the one that is too much");
  // It hears of its end later, and is counted once.
  held.letGo(first);
  held.add(second, 24 * mebibyte - 1);
  t.same(cut, ["first"]);
  held.add(second, 1);
  t.same([cut, crowdedOut], [["first", "third"], 2]);
});
