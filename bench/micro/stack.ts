/**
 * What one request costs in the layers, from the listener's stack to an endpoint that answers at once: no codec and no
 * sockets, but the real upstream with four endpoints, breakers, budget, limits and counters.
 */

import { bench, group, summary } from "mitata";
import { parseConfig } from "../../config/index.ts";
import { Body, Exchange, type Handler } from "../../core/index.ts";
import * as stacks from "../../proxy/stack.ts";
import { createStackParts } from "../../proxy/stack-parts.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { Upstream } from "../../proxy/upstream/index.ts";
import { SILENT_LOG } from "../../test/support/silent-log.ts";

const config = parseConfig(
  'upstreams: { bench: { endpoints: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"] } }',
  "bench.yaml",
  {},
);
const { options, endpoints } = config.upstreams["bench"]!;

const CONTENT = Buffer.from("x".repeat(100));

const answers: Handler = (exchange) => {
  exchange.suspend("response", systemClock.now(), () => {});
  exchange.resume(systemClock.now());
  return Promise.resolve({ status: 200, reason: "OK", headers: [], body: Body.of(CONTENT) });
};

const parts = createStackParts({ clock: systemClock, random: systemRandom, log: SILENT_LOG });
const upstream = new Upstream("bench", options, parts, (of, to) => stacks.endpoint(parts, of, to, answers));
upstream.update(endpoints!);
const outbound = stacks.outbound(parts, [], new Map([["bench", stacks.upstream(parts, upstream)]]));

const HEAD = {
  method: "GET",
  target: "/",
  authority: "bench",
  minorVersion: 1,
  headers: ["User-Agent", "bench"],
  expectsContinue: false,
  upgrade: "",
};

function newExchange(): Exchange {
  const nowMs = systemClock.now();
  return new Exchange("outbound", "0b9d2c5e", HEAD, undefined, "127.0.0.1", undefined, undefined, nowMs);
}

group("stack", () => {
  summary(() => {
    bench("nothing but an answer and its exchange", async () => {
      const exchange = newExchange();
      exchange.state = "running";
      const response = await answers(exchange);
      exchange.settle("success", systemClock.now());
      return response.status;
    });
    bench("every layer of an outbound request", async () => {
      const exchange = newExchange();
      exchange.state = "running";
      const response = await outbound(exchange);
      exchange.status = response.status;
      exchange.settle("success", systemClock.now());
      return response.status;
    });
  });
});
