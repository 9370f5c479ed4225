/**
 * Upgrades for tests: WebSocket servers and clients by `ws`, the heads of an upgrade for everything that is done by
 * hand, and the question whether a sidecar has given everything back.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Test } from "tap";
import { type ClientOptions, type ServerOptions, WebSocket, WebSocketServer } from "ws";
import type { InProcess } from "./in-process.ts";
import { type RawConnection, rawClient } from "./raw.ts";

/** An upstream `orders` that may switch to WebSocket and to a protocol of our own. */
export function orders(addresses: readonly string[], more = ""): string {
  const endpoints = addresses.map((address) => `"${address}"`).join(", ");
  return `upstreams: { orders: { endpoints: [${endpoints}], upgrades: [websocket, echo]${more && `, ${more}`} } }`;
}

export interface WebSocketEndpoint {
  readonly address: string;
  readonly port: number;
  /** Every client that has been accepted. */
  readonly clients: readonly WebSocket[];
  /** Resolves with the client of that number, from 0. */
  accepted(number: number): Promise<WebSocket>;
}

/** A WebSocket server that hands every client to `serve`, with the path that it asked for; 426 to all other callers. */
export async function webSocketEndpoint(
  t: Test,
  serve: (client: WebSocket, path: string) => void = () => {},
  options: ServerOptions = {},
): Promise<WebSocketEndpoint> {
  const http = createServer((_, response) => response.writeHead(426).end());
  const server = new WebSocketServer({ server: http, ...options });
  const clients: WebSocket[] = [];
  server.on("connection", (client, { url = "" }) => {
    client.on("error", () => {});
    clients.push(client);
    serve(client, url);
    http.emit("accepted");
  });
  http.setMaxListeners(0);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.teardown(() => {
    for (const client of clients) client.terminate();
    http.close();
    http.closeAllConnections();
  });
  const { port } = http.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    port,
    clients,
    async accepted(number) {
      while (clients[number] === undefined) await once(http, "accepted");
      return clients[number]!;
    },
  };
}

/** Sends every message back as what it came as. */
export function echo(client: WebSocket): void {
  client.on("message", (message, isBinary) => client.send(message as Buffer, { binary: isBinary }));
}

export interface ClientSettings extends ClientOptions {
  readonly host?: string;
  readonly path?: string;
  readonly protocols?: string[];
}

/** A client that is being connected, and that ends with the test. */
export function webSocketClient(t: Test, port: number, settings: ClientSettings = {}): WebSocket {
  const { host = "orders", path = "/", protocols = [], headers, ...options } = settings;
  const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, {
    headers: { host, ...headers },
    perMessageDeflate: false,
    ...options,
  });
  // An error is followed by a close, which is what tests look at.
  client.on("error", () => {});
  t.teardown(() => client.terminate());
  return client;
}

/** A client that is connected. */
export async function connected(t: Test, port: number, settings: ClientSettings = {}): Promise<WebSocket> {
  const client = webSocketClient(t, port, settings);
  await once(client, "open");
  return client;
}

/** The TCP connection under a WebSocket. */
export function socketOf(client: WebSocket): Socket {
  return (client as unknown as { readonly _socket: Socket })._socket;
}

/** The next message, as text or as bytes. */
export async function message(client: WebSocket): Promise<string | Buffer> {
  const [bytes, isBinary] = (await once(client, "message")) as [Buffer, boolean];
  return isBinary ? bytes : bytes.toString();
}

/** How it ends: the status, 1005 for a Close without one and 1006 for none at all, and the reason. */
export async function closed(client: WebSocket): Promise<string> {
  const [code, reason] = (await once(client, "close")) as [number, Buffer];
  return `${code} ${reason}`.trim();
}

/** The head of a request to switch. */
export function asking(protocol = "echo", ...fields: readonly string[]): string {
  const lines = ["GET / HTTP/1.1", "Host: orders", "Connection: Upgrade", `Upgrade: ${protocol}`, ...fields];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** The head of an answer that switches. */
export function switching(protocol = "echo", ...fields: readonly string[]): string {
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
    ...fields,
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** A connection by hand that has switched; what has been received so far is taken away. */
export async function switched(t: Test, port: number, protocol = "echo"): Promise<RawConnection> {
  const client = await rawClient(t, port);
  client.send(asking(protocol));
  await client.until(/^HTTP\/1.1 101 .*?\r\n\r\n/s);
  client.received = client.received.slice(client.received.indexOf("\r\n\r\n") + 4);
  return client;
}

/** Waits until every caller has gone, and checks that nothing is left of what they took. */
export async function nothingLeft(
  t: Test,
  { sidecar, admin, metric }: Pick<InProcess, "sidecar" | "admin" | "metric">,
): Promise<void> {
  for (const listener of sidecar.listeners)
    await listener.until(() => listener.connections === 0 && listener.exchanges.size === 0);
  // The endpoints' sides may end a little later.
  while ((await metric("heddle_pool_connections", { state: "busy" })) > 0);
  t.equal(await metric("heddle_connections"), 0, "no connection from a caller");
  t.equal(await metric("heddle_requests_in_flight"), 0, "no request in flight");
  t.equal(await admin("/requests"), "[]\n");
  for (const [name, upstream] of sidecar.upstreams) {
    const { connecting, busy } = upstream.counts().connections;
    t.same({ connecting, busy }, { connecting: 0, busy: 0 }, `no connection to ${name}`);
    t.equal(upstream.limit.held, 0, "all permits are back");
    for (const { inFlight, key } of upstream.endpoints) t.equal(inFlight, 0, `nothing in flight at ${key}`);
  }
}
