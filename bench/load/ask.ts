/**
 * One request at a time, with everything that the proof of correctness wants to know about the answer.
 *
 * Not `fetch`: it does not let its caller set the Host header or see which connection was used.
 */
import { Agent, request } from "node:http";
import { HOST_HEADER } from "./upstream.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
  /** The caller's end of the connection to the proxy, by which it is told from others. */
  readonly localPort: number | undefined;
}

export interface Question {
  readonly agent: Agent;
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly signal: AbortSignal;
  /** The Host to name, if not the one that all contenders route by. */
  readonly hostHeader?: string;
}

/** One piece of body is sent with its length, several are sent chunked. */
export function ask(question: Question, pieces: readonly string[] = []): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | number> = { Host: question.hostHeader ?? HOST_HEADER };
    if (pieces.length === 1) headers["Content-Length"] = pieces.join("").length;
    if (pieces.length > 1) headers["Transfer-Encoding"] = "chunked";
    const sent = request({ ...question, host: "127.0.0.1", headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        body += piece;
      });
      response.on("error", reject);
      // Read now: once the answer is complete, the connection belongs to the next request.
      const { statusCode: status = 0, socket } = response;
      const localPort = socket.localPort;
      response.on("end", () => resolve({ status, body, localPort }));
    });
    sent.on("error", reject);
    for (const piece of pieces) sent.write(piece);
    sent.end();
  });
}

/** Whether a GET is answered with 200 within a second. */
export async function isAnswering(url: URL, signal: AbortSignal): Promise<boolean> {
  const agent = new Agent();
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(1000)]);
  const { port, pathname, hostname } = url;
  // An admin port on loopback answers only to addresses; to the others the Host of the proof is the right one.
  const hostHeader = pathname === "/ready" ? hostname : HOST_HEADER;
  const question = { agent, port: Number(port), method: "GET", path: pathname, signal: bounded, hostHeader };
  try {
    return (await ask(question)).status === 200;
  } catch {
    return false;
  } finally {
    agent.destroy();
  }
}
