/**
 * The two ends of a call. Small HTTP apps to stand behind a sidecar: each on a free loopback port, with an answer that
 * a test can change at any time, a count of what it served, and a way to go away and to come back on the same port,
 * as a replica does that is redeployed. And the caller: one that can name any Host, which `fetch` does not allow.
 */
import { once } from "node:events";
import {
  type Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** The part of a tap test that takes what must be ended with it. */
export interface Teardown {
  teardown(end: () => unknown): unknown;
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface App {
  readonly port: number;
  /** `127.0.0.1:port`, as a configuration names an endpoint. */
  readonly address: string;
  /** Requests that it has begun to answer, since the beginning. */
  readonly served: number;
  answer: Answer;
  /** Closes the port and every connection at once, as a crash does. */
  stop(): Promise<void>;
  /** Listens again, on the same port. */
  start(): Promise<void>;
}

/** Answers 200 with a text. */
export function say(text: string): Answer {
  return (_, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.end(text);
  };
}

/** Starts an app that ends with the test. */
export async function startApp(t: Teardown, answer: Answer = say("fine\n")): Promise<App> {
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;
  let served = 0;

  async function listen(on: number): Promise<Server> {
    const listening = createServer((request, response) => {
      served++;
      app.answer(request, response);
    });
    listening.listen(on, "127.0.0.1");
    await once(listening, "listening");
    return listening;
  }

  const app: App = {
    port,
    address: `127.0.0.1:${port}`,
    get served() {
      return served;
    },
    answer,
    async stop() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
    async start() {
      if (!server.listening) server = await listen(port);
    },
  };
  t.teardown(() => app.stop());
  return app;
}

export interface Question {
  readonly method?: string;
  readonly path?: string;
  /** A list makes a line of each. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
  /** Keeps connections; without it, each call has its own. */
  readonly agent?: Agent;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * Calls `host` through a port of this machine, such as a sidecar's outbound one.
 * @throws Error when there is no whole answer
 */
export async function call(port: number, host: string, question: Question = {}): Promise<Reply> {
  const { method = "GET", path = "/", headers = {}, body, agent = false } = question;
  const calling = request({ host: "127.0.0.1", port, method, path, agent, headers: { host, ...headers } });
  // What breaks after the head is told by the body.
  calling.on("error", () => {});
  calling.end(body);
  const [response] = (await once(calling, "response")) as [IncomingMessage];
  let text = "";
  for await (const part of response.setEncoding("utf8")) text += part;
  return { status: response.statusCode ?? 0, headers: response.headers, body: text };
}
