/**
 * Before a contender is measured it has to prove that it does the work: a proxy that drops bodies, closes
 * connections or forgets three of four endpoints would be fast for the wrong reason.
 *
 * Every claim is checked over real connections; the first that fails ends the bench, in words.
 */
import { Agent } from "node:http";
import { type Answer, ask } from "./ask.ts";
import { BODY, MISSING_BODY, paths, UPSTREAM_PORT_COUNT } from "./upstream.ts";

export async function proveCorrect(name: string, port: number, signal: AbortSignal): Promise<void> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(PROOF_LIMIT_MS)]);
  try {
    await withConnections(1, port, bounded, proveAnswers);
    await withConnections(CONNECTIONS, port, bounded, proveSpreadAndReuse);
  } catch (cause) {
    signal.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${name} failed the proof of correctness: ${why}`, { cause });
  }
}

const PROOF_LIMIT_MS = 15_000;
const CONNECTIONS = 8;
const SPREAD_REQUESTS = 400;

type Send = (method: string, path: string, body?: readonly string[]) => Promise<Answer>;

async function withConnections(
  count: number,
  port: number,
  signal: AbortSignal,
  prove: (send: Send) => Promise<void>,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: count });
  const send: Send = async (method, path, body) => {
    try {
      return await ask({ agent, port, method, path, signal }, body);
    } catch (cause) {
      const why = signal.aborted ? `no answer within ${PROOF_LIMIT_MS} ms` : String(cause);
      throw new Error(`${method} ${path}: ${why}`, { cause });
    }
  };
  try {
    await prove(send);
  } finally {
    agent.destroy();
  }
}

async function proveAnswers(send: Send): Promise<void> {
  const line = "0123456789abcdef".repeat(64);
  const first = await send("GET", paths.body);
  expectAnswer("GET", first, 200, BODY);
  expectAnswer("HEAD", await send("HEAD", paths.body), 200, "");
  expectAnswer("POST with a length", await send("POST", paths.echo, [line]), 200, line);
  expectAnswer("POST in chunks", await send("POST", paths.echo, [line, line, line]), 200, line.repeat(3));
  expectAnswer("a 204", await send("GET", paths.noContent), 204, "");
  expectAnswer("a 404", await send("GET", paths.missing), 404, MISSING_BODY);
  const last = await send("GET", paths.body);
  expectAnswer("GET after the others", last, 200, BODY);
  if (last.localPort !== first.localPort) {
    throw new Error("expected one keep-alive connection for all requests, got another");
  }
}

/** Many at once, as a balancer that goes by latency or load may rightly favour one endpoint of idle ones. */
async function proveSpreadAndReuse(send: Send): Promise<void> {
  const requests = Array.from({ length: SPREAD_REQUESTS }, () => send("GET", paths.whoAmI));
  const answers = await Promise.all(requests);
  const callerConnections = new Set(answers.map(({ localPort }) => localPort));
  const upstreamConnections = new Set(answers.map(({ body }) => body));
  const upstreamPorts = new Set(answers.map(({ body }) => body.split(" ")[0]));
  expectAtMost("connections from the caller", callerConnections.size, CONNECTIONS);
  // Each endpoint may need as many as there are requests in flight.
  expectAtMost("connections to the endpoints", upstreamConnections.size, CONNECTIONS * UPSTREAM_PORT_COUNT);
  if (upstreamPorts.size !== UPSTREAM_PORT_COUNT) {
    throw new Error(`expected ${UPSTREAM_PORT_COUNT} endpoints to be reached, got ${upstreamPorts.size}`);
  }
}

function expectAnswer(what: string, answer: Answer, status: number, body: string): void {
  if (answer.status === status && answer.body === body) return;
  throw new Error(`${what}: expected ${inWords(status, body)}, got ${inWords(answer.status, answer.body)}`);
}

function inWords(status: number, body: string): string {
  const begin = body.length > 60 ? `${body.slice(0, 60)}…` : body;
  return `${status} and ${body.length} bytes ${JSON.stringify(begin)}`;
}

function expectAtMost(what: string, count: number, most: number): void {
  if (count <= most) return;
  throw new Error(`${what}: expected at most ${most} for ${SPREAD_REQUESTS} requests, got ${count}`);
}
