import { test } from "tap";
import { Body, ProxyError } from "../../core/index.ts";
import { accessMembers } from "../../telemetry/access-log.layer.ts";
import { ACCESS_LOG_FIELDS } from "../../telemetry/access-log-fields.ts";
import { AccessLines, isoTimestamp } from "../../telemetry/logger.ts";
import { exchangeOf } from "../support/exchange.ts";

/** Names in the order of the line, and their values. */
function lineOf(exchange: ReturnType<typeof exchangeOf>): Record<string, unknown> {
  let written = "";
  const lines = new AccessLines(isoTimestamp(), (text) => {
    written += text;
  });
  lines.add(accessMembers(exchange));
  lines.writeOut();
  return JSON.parse(written);
}

const FIELDS = Object.entries(ACCESS_LOG_FIELDS);

test("a line of a request to which everything has happened has every field of the table, in its order", async (t) => {
  const exchange = exchangeOf({ method: "POST", body: Body.of(new Uint8Array(7)), nowMs: 0 });
  const waits = ["discovery", "queue", "connection", "response", "backoff", "transfer", "layer"] as const;
  for (const [i, wait] of waits.entries()) {
    exchange.suspend(wait, 10 * i, () => {});
    exchange.resume(10 * i + 5);
  }
  exchange.route = "canary";
  exchange.upstream = "orders";
  exchange.beginAttempt("10.0.0.1:80");
  exchange.beginAttempt("10.0.0.2:80");
  exchange.hedges = 1;
  exchange.retryRefused = "budget";
  exchange.injected = "delay";
  exchange.fallback = "static";
  exchange.wouldRefuse("rate_limited");
  exchange.blame(new ProxyError("bad_response", "the answer is malformed", { detail: "bare_line_feed" }));
  exchange.settle("failure", 100);
  const line = lineOf(exchange);
  t.same(
    Object.keys(line),
    FIELDS.map(([name]) => name),
  );
  for (const [name, { unit }] of FIELDS)
    if (unit !== undefined) t.equal(typeof line[name], "number", `${name} in ${unit}`);
  for (const [name, value] of Object.entries(line)) t.not(value, "", `${name} says something`);
  for (const name of Object.keys(line))
    t.equal(/Ms$/.test(name), ACCESS_LOG_FIELDS[name as keyof typeof ACCESS_LOG_FIELDS].unit === "ms", name);
});

test("a line of a request to which nothing has happened has the fields of every line, and no other", async (t) => {
  const exchange = exchangeOf({ nowMs: 0 });
  exchange.settle("success", 1);
  t.same(
    Object.keys(lineOf(exchange)),
    FIELDS.filter(([, { when }]) => when === undefined).map(([name]) => name),
  );
});
