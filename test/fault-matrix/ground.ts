/**
 * What stands behind the sidecars of the matrix: three real apps that write down what was delivered to them, each with a
 * fault injector before it. And the callers in front.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import { type App, startApp, type Teardown } from "../support/apps.ts";
import { type Fault, type FaultInjector, startFaultInjector } from "../support/fault-injector.ts";
import type { Kind } from "./policies.ts";

/** Which of the three endpoints have the fault. */
export type Scope = "one of three" | "all three";

export const SCOPES: readonly Scope[] = ["one of three", "all three"];

const ENDPOINTS = 3;

const CONTROL_EVERY_MS = 20;
const RATE_TICK_MS = 5;

/** The field that tells requests apart, whatever a sidecar does to their id. */
const NAME = "x-matrix-request";

export class Ground {
  readonly injectors: readonly FaultInjector[];
  /** Of an app without an injector before it. */
  readonly appPort: number;
  /** How often the whole of a request has come to an app, by the request's name. */
  readonly deliveries: ReadonlyMap<string, number>;

  constructor(injectors: readonly FaultInjector[], appPort: number, deliveries: ReadonlyMap<string, number>) {
    this.injectors = injectors;
    this.appPort = appPort;
    this.deliveries = deliveries;
  }

  /** Whole requests that have come to the apps whose names begin so. */
  deliveredOf(prefix: string): number {
    let sum = 0;
    for (const [name, count] of this.deliveries) if (name.startsWith(prefix)) sum += count;
    return sum;
  }

  /** @param cut whether the connections of those that get the fault are reset */
  async become(fault: Fault, scope: Scope, cut = false): Promise<void> {
    for (const [n, injector] of this.injectors.entries()) {
      const hit = n === 0 || scope === "all three";
      await injector.become(hit ? fault : { kind: "none" });
      if (hit && cut) injector.cut();
    }
  }
}

export async function startGround(t: Teardown): Promise<Ground> {
  const deliveries = new Map<string, number>();
  const injectors: FaultInjector[] = [];
  let appPort = 0;
  for (let n = 0; n < ENDPOINTS; n++) {
    const app: App = await startApp(t, (asked, response) => {
      const name = `${asked.headers[NAME]}`;
      asked.resume();
      // Half a request is none: it is the end that makes it one.
      asked.on("end", () => {
        deliveries.set(name, (deliveries.get(name) ?? 0) + 1);
        const body = answerTo(name);
        response.writeHead(200, { "content-length": body.length });
        response.end(body);
      });
    });
    appPort = app.port;
    injectors.push(await startFaultInjector(t, app, { seed: n + 1 }));
  }
  return new Ground(injectors, appPort, deliveries);
}

function answerTo(name: string): string {
  return `done: ${name}`;
}

export interface Call {
  readonly name: string;
  readonly kind: Kind;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * What a caller has got: `200`, the app's own answer to this request and whole; `fallback`; an error code; `cut`, an answer that
 * ended too soon; `wrong`, one that is whole and not the app's; `none`, a connection that ended without an answer.
 */
export type Outcome = string;

/** Callers of one sidecar, each with one call at a time. */
export async function ask(
  port: number,
  calls: readonly Call[],
  callers: number,
): Promise<Map<string, Outcome>> {
  const agent = new Agent({ keepAlive: true });
  const outcomes = new Map<string, Outcome>();
  let next = 0;
  const caller = async () => {
    while (next < calls.length) {
      const call = calls[next++]!;
      outcomes.set(call.name, await outcomeOf(port, agent, call));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  agent.destroy();
  return outcomes;
}

/** So many in a second, whether those before are answered or not. Resolves when all are. */
export async function askAtRate(port: number, calls: readonly Call[], perSecond: number): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const began = performance.now();
  const answers: Promise<Outcome>[] = [];
  while (answers.length < calls.length) {
    const due = Math.min(calls.length, ((performance.now() - began) * perSecond) / 1_000);
    while (answers.length < due) answers.push(outcomeOf(port, agent, calls[answers.length]!));
    await new Promise((resolve) => setTimeout(resolve, RATE_TICK_MS));
  }
  await Promise.all(answers);
  agent.destroy();
}

/** Asks the app itself again and again until it is stopped, which resolves to the longest that it took, in milliseconds. */
export function startControl({ appPort }: Ground): () => Promise<number> {
  const agent = new Agent({ keepAlive: true });
  let isOver = false;
  let longestMs = 0;
  const run = async () => {
    while (!isOver) {
      const began = performance.now();
      await outcomeOf(appPort, agent, { name: "control", kind: "GET", headers: {} });
      longestMs = Math.max(longestMs, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, CONTROL_EVERY_MS));
    }
  };
  const ended = run();
  return async () => {
    isOver = true;
    await ended;
    agent.destroy();
    return longestMs;
  };
}

function outcomeOf(port: number, agent: Agent, { name, kind, headers }: Call): Promise<Outcome> {
  const [method] = kind.split(" ");
  const body = method === "GET" ? undefined : `the body of ${name}`;
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const asking = request(
    {
      host: "127.0.0.1",
      port,
      method,
      path: `/${name}`,
      agent,
      headers: {
        host: "orders",
        [NAME]: name,
        ...(kind === "POST with a key" ? { "idempotency-key": name } : {}),
        ...(body === undefined ? {} : { "content-length": `${body.length}` }),
        ...headers,
      },
    },
    (response) => {
      let text = "";
      response.setEncoding("latin1");
      response.on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => resolve(wholeOutcome(response, text, name)));
      response.on("error", () => resolve("cut"));
    },
  );
  asking.on("error", () => resolve("none"));
  asking.end(body);
  return promise;
}

function wholeOutcome({ statusCode, headers }: IncomingMessage, text: string, name: string): Outcome {
  const code = headers["x-heddle-error"];
  if (code !== undefined) return `${code}`;
  if (headers["x-heddle-fallback"] !== undefined) return "fallback";
  return statusCode === 200 && text === answerTo(name) ? "200" : "wrong";
}
