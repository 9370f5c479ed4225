/**
 * Both ends of the wire by hand: a client that sends and reads bytes, and an endpoint that answers with bytes.
 * For everything that a well-behaved HTTP library would not do.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Test } from "tap";
import { reset } from "../../proxy/reset.ts";

/** A connection that collects what comes, and lets a test wait for it. */
export class RawConnection {
  readonly socket: Socket;
  received = "";
  ended = false;
  #changed: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => {
      this.received += bytes.toString("latin1");
      this.#tell();
    });
    const end = () => {
      this.ended = true;
      this.#tell();
    };
    socket.on("end", end);
    socket.on("error", end);
    socket.on("close", end);
  }

  send(bytes: string | Uint8Array): void {
    if (typeof bytes === "string") this.socket.write(bytes, "latin1");
    else this.socket.write(bytes);
  }

  /** Resolves when what has been received matches; fails when the connection ends before. */
  async until(matches: RegExp | ((received: string) => boolean)): Promise<string> {
    const holds = () =>
      typeof matches === "function" ? matches(this.received) : matches.test(this.received);
    while (!holds()) {
      if (this.ended)
        throw new Error(`the connection ended; received ${JSON.stringify(this.received.slice(0, 2000))}`);
      await this.#next();
    }
    return this.received;
  }

  /** Resolves with everything when the other side has ended. */
  async untilEnd(): Promise<string> {
    while (!this.ended) await this.#next();
    return this.received;
  }

  /** Takes what has been received so far away. */
  take(): string {
    const taken = this.received;
    this.received = "";
    return taken;
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed.push(resolve);
    });
  }

  #tell(): void {
    const changed = this.#changed;
    this.#changed = [];
    for (const resolve of changed) resolve();
  }
}

/** Connects, and destroys the connection when the test ends. */
export async function rawClient(t: Test, port: number): Promise<RawConnection> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  await once(socket, "connect");
  return new RawConnection(socket);
}

/** Sends one request and returns everything up to the end of the connection. */
export async function exchangeBytes(t: Test, port: number, request: string): Promise<string> {
  const client = await rawClient(t, port);
  client.send(request);
  return client.untilEnd();
}

export interface RawEndpoint {
  readonly port: number;
  readonly address: string;
  /** Every connection that has been accepted. */
  readonly connections: readonly RawConnection[];
  /** Resolves with the connection of that number, from 0. */
  accepted(number: number): Promise<RawConnection>;
  /** Stops listening and resets every connection. */
  kill(): Promise<void>;
}

/** An endpoint that hands every connection to `serve`. */
export async function rawEndpoint(
  t: Test,
  serve: (connection: RawConnection, number: number) => void = () => {},
): Promise<RawEndpoint> {
  const connections: RawConnection[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = new RawConnection(socket);
    connections.push(connection);
    server.emit("accepted");
    serve(connection, connections.length - 1);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const kill = async () => {
    for (const { socket } of connections) reset(socket);
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  t.teardown(kill);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: `127.0.0.1:${port}`,
    connections,
    kill,
    async accepted(number) {
      while (connections[number] === undefined) await once(server, "accepted");
      return connections[number]!;
    },
  };
}

/** Answers every complete head (of a request without a body) with `answer`, keeping the connection. */
export function answering(answer: string | (() => string)): (connection: RawConnection) => void {
  return (connection) => {
    connection.socket.on("data", () => {
      for (let end = connection.received.indexOf("\r\n\r\n"); end !== -1; ) {
        connection.received = connection.received.slice(end + 4);
        connection.send(typeof answer === "string" ? answer : answer());
        end = connection.received.indexOf("\r\n\r\n");
      }
    });
  };
}

/** A complete answer with a Content-Length. */
export function textAnswer(body: string, head = "HTTP/1.1 200 OK\r\n"): string {
  return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
}
