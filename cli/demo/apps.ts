/**
 * The services of the demo, as the smallest apps that show something: `web` calls `orders`, and of the three
 * replicas of `orders` one is slow and one fails a third of its calls.
 */
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** How a replica of `orders` behaves. */
export interface Behaviour {
  readonly about: string;
  readonly delayMs: number;
  /** Every so many-th call is answered with 503; 0 for never. */
  readonly failsEvery: number;
}

export const ORDERS: readonly Behaviour[] = [
  { about: "fine", delayMs: 5, failsEvery: 0 },
  { about: "slow", delayMs: 150, failsEvery: 0 },
  { about: "fails a third", delayMs: 5, failsEvery: 3 },
];

/** One app with what it has counted. */
export interface App {
  readonly port: number;
  served: number;
  failed: number;
  close(): void;
}

export async function startOrders(replica: number, behaviour: Behaviour): Promise<App> {
  const server = createServer((_, response) => {
    setTimeout(() => {
      app.served++;
      const fails = behaviour.failsEvery > 0 && app.served % behaviour.failsEvery === 0;
      if (fails) app.failed++;
      response.writeHead(fails ? 503 : 200, { "content-type": "text/plain" });
      response.end(fails ? "out of order\n" : `order from replica ${replica} (${behaviour.about})\n`);
    }, behaviour.delayMs);
  });
  const app = await listening(server);
  return app;
}

/** `web` answers every request with what `orders` answers; it finds `orders` by name, at its own sidecar. */
export async function startWeb(outboundPort: () => number): Promise<App> {
  const server = createServer((_, response) => {
    app.served++;
    const call = request(
      { host: "127.0.0.1", port: outboundPort(), path: "/", headers: { host: "orders" } },
      (answer) => {
        if (answer.statusCode !== 200) app.failed++;
        response.writeHead(answer.statusCode ?? 502, { "content-type": "text/plain" });
        answer.pipe(response);
      },
    );
    call.on("error", (error) => {
      app.failed++;
      response.writeHead(502);
      response.end(`${error.message}\n`);
    });
    call.end();
  });
  const app = await listening(server);
  return app;
}

async function listening(server: Server): Promise<App> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    served: 0,
    failed: 0,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
