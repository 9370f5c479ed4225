/**
 * A port on which a connect stays unanswered, as where a firewall drops the packets.
 *
 * The kernel accepts for a process until the backlog is full, whether it looks or not; then it drops each further SYN.
 * So a thread listens that never looks, with the shortest backlog there is, and connections of this process fill it. A
 * namespace with a route that is cut does the same (namespace.ts) and needs root.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";

/** Of a backlog of one, the kernel holds one connection more. */
const HELD = 2;

/** On loopback a handshake takes microseconds; the kernel sends a SYN that had no answer again after a second. */
const NO_ANSWER_MS = 200;

/** Until it is told to end: to end a thread from outside would be to interrupt it in the middle of whatever it does. */
const NEVER_LOOKS = `
const { createServer } = require("node:net");
const { parentPort, workerData } = require("node:worker_threads");
const server = createServer().listen({ port: workerData.port, host: "127.0.0.1", backlog: 1 }, () => {
  parentPort.postMessage(server.address().port);
  Atomics.wait(workerData.isOver, 0, 0);
  server.close();
});`;

export interface BlackHole {
  readonly port: number;
  /** Closes the port; who is still connecting is refused when the SYN is sent again. */
  close(): Promise<void>;
}

/** Resolves when a connect to the port has no answer any more. @param port which must be free; 0 is any */
export async function openBlackHole(port = 0): Promise<BlackHole> {
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  const listener = new Worker(NEVER_LOOKS, { eval: true, workerData: { port, isOver } });
  const [at] = (await once(listener, "message")) as [number];
  const held: Socket[] = [];
  while (held.length < HELD) {
    const socket = connect({ port: at, host: "127.0.0.1" });
    socket.on("error", () => {});
    held.push(socket);
    // Somebody else may have taken the place, and then the backlog is as full as it shall be: no answer is the sign of it.
    if (!(await isAnswered(socket))) break;
  }
  // A test that ends without closing it ends all the same.
  for (const handle of [listener, ...held]) handle.unref();
  return {
    port: at,
    async close() {
      for (const socket of held) socket.destroy();
      const ended = once(listener, "exit");
      listener.ref();
      Atomics.store(isOver, 0, 1);
      Atomics.notify(isOver, 0);
      await ended;
    },
  };
}

async function isAnswered(socket: Socket): Promise<boolean> {
  await Promise.race([once(socket, "connect"), sleep(NO_ANSWER_MS)]);
  // After a pause of the process timers come before what the sockets have to say.
  await new Promise(setImmediate);
  return !socket.connecting;
}
