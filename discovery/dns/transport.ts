/**
 * One message to one server and its reply, by UDP or by TCP, within a limit of time.
 *
 * Each question has a socket of its own, so that its source port, which the system draws, is one more thing that a
 * forger has to guess. The socket is connected: the system then drops what comes from elsewhere, and tells at once
 * when nobody listens there.
 */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import type { Clock } from "../../core/index.ts";
import type { Reply } from "./message.ts";

export interface Server {
  readonly address: string;
  readonly port: number;
}

export interface Bounds {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type Believed = Exclude<Reply, { readonly kind: "foreign" }>;

const LIMIT_MS = 2_000;
/** A datagram may get lost, and a server that has been asked twice answers twice. */
const ASK_AGAIN_MS = 1_000;

/**
 * @param read what a datagram is; foreign ones are passed over
 * @throws Error when there is no reply in time, the server is not there, or the signal is aborted
 */
export function askByUdp(
  server: Server,
  message: Buffer,
  read: (datagram: Buffer) => Reply,
  bounds: Bounds,
): Promise<Believed> {
  return bounded(bounds, (resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? "udp6" : "udp4");
    const send = () => socket.send(message);
    let isConnected = false;
    const again = bounds.clock.schedule(ASK_AGAIN_MS, () => {
      // When it is not connected yet, the first one has not been sent either.
      if (isConnected) send();
    });
    socket.on("error", reject);
    socket.on("message", (datagram) => {
      const reply = read(datagram);
      if (reply.kind !== "foreign") resolve(reply);
    });
    socket.on("connect", () => {
      isConnected = true;
      send();
    });
    socket.connect(server.port, server.address);
    return () => {
      again.cancel();
      socket.close();
    };
  });
}

/**
 * @param read what the message is; on a connection a foreign one is a fault
 * @throws Error as askByUdp does, and when the connection ends early
 */
export function askByTcp(
  server: Server,
  message: Buffer,
  read: (message: Buffer) => Reply,
  bounds: Bounds,
): Promise<Believed> {
  return bounded(bounds, (resolve, reject) => {
    const socket = connect({ port: server.port, host: server.address });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    const chunks: Buffer[] = [];
    let held = 0;
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the connection ended before the answer did")));
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      held += chunk.length;
      if (held < 2) return;
      const received = Buffer.concat(chunks);
      const end = 2 + received.readUInt16BE(0);
      if (held < end) return;
      const reply = read(received.subarray(2, end));
      if (reply.kind === "foreign") reject(new Error("the answer is to another question"));
      else resolve(reply);
    });
    // One write, since some servers read a length that comes alone as the whole.
    socket.write(Buffer.concat([length, message]));
    return () => {
      socket.destroy();
    };
  });
}

/** Runs until it settles, the time is over or the signal is aborted; what `begin` returns frees what it holds. */
function bounded<T>(
  { clock, signal }: Bounds,
  begin: (resolve: (value: T) => void, reject: (why: Error) => void) => () => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new Error("called off"));
      return;
    }
    let isOver = false;
    const end = (settle: () => void) => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
      release();
      settle();
    };
    const fail = (why: Error) => end(() => reject(why));
    const onAbort = () => fail(new Error("called off"));
    const timer = clock.schedule(LIMIT_MS, () => fail(new Error(`no answer within ${LIMIT_MS} ms`)));
    signal.addEventListener("abort", onAbort);
    const release = begin((value) => end(() => resolve(value)), fail);
  });
}
