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

/** In short waits: an endless one that begins as the thread is told to end would hold the end of the process. */
const NEVER_LOOKS = `
const { createServer } = require("node:net");
const { parentPort, workerData } = require("node:worker_threads");
createServer().listen({ port: workerData, host: "127.0.0.1", backlog: 1 }, () => {
  parentPort.postMessage("listening");
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) Atomics.wait(never, 0, 0, 100);
});`;

export interface BlackHole {
  /** Closes the port; who is still connecting is refused when the SYN is sent again. */
  close(): Promise<void>;
}

/** Resolves when a connect to the port, which must be free, has no answer any more. */
export async function openBlackHole(port: number): Promise<BlackHole> {
  const listener = new Worker(NEVER_LOOKS, { eval: true, workerData: port });
  await once(listener, "message");
  const held: Socket[] = [];
  while (held.length < HELD) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    held.push(socket);
    // Somebody else may have taken the place, and then the backlog is as full as it shall be: no answer is the sign of it.
    const [answer] = await Promise.race([
      once(socket, "connect").then(() => ["yes"]),
      sleep(NO_ANSWER_MS, []),
    ]);
    if (answer === undefined) break;
  }
  return {
    async close() {
      for (const socket of held) socket.destroy();
      await listener.terminate();
    },
  };
}
