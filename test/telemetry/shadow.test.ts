import { test } from "tap";
import { ProxyError } from "../../core/index.ts";
import { errorResponse } from "../../proxy/rescue.layer.ts";
import { accessMembers, RequestTally } from "../../telemetry/index.ts";
import { shadowSeries } from "../../telemetry/request-tally.ts";
import { exchangeOf } from "../support/exchange.ts";

test("what would have been refused is noted once for each reason, in the log and in the counts", async (t) => {
  const exchange = exchangeOf();
  exchange.upstream = "orders";
  exchange.route = "pay";
  exchange.wouldRefuse("overflow");
  exchange.wouldRefuse("breaker_open");
  exchange.wouldRefuse("breaker_open");
  exchange.settle("success", 1);
  t.match(JSON.parse(`{${accessMembers(exchange)}}`), { shadow: "overflow,breaker_open" });
  const tally = new RequestTally();
  tally.record(exchange);
  tally.record(exchange);
  const of = { direction: "outbound", upstream: "orders", route: "pay" };
  t.same(
    [...shadowSeries(tally.counted())],
    [
      { ...of, cause: "overflow", count: 2 },
      { ...of, cause: "breaker_open", count: 2 },
    ],
  );
});

test("what would have refused an attempt beside the first is noted with the request", async (t) => {
  const exchange = exchangeOf();
  const twin = exchange.twin(undefined).twin(undefined);
  exchange.wouldRefuse("rate_limited");
  twin.wouldRefuse("breaker_open");
  twin.wouldRefuse("rate_limited");
  t.equal(exchange.shadow, "rate_limited,breaker_open");
  t.equal(twin.shadow, "");
});

test("what nothing would have refused is not mentioned", async (t) => {
  const exchange = exchangeOf();
  exchange.settle("success", 1);
  t.notOk("shadow" in JSON.parse(`{${accessMembers(exchange)}}`));
  const tally = new RequestTally();
  tally.record(exchange);
  t.same([...shadowSeries(tally.counted())], []);
});

test("an error brings fields of its own to its answer", async (t) => {
  const error = new ProxyError("overflow", "full", { headers: ["Retry-After", "1"] });
  t.same(errorResponse(exchangeOf(), error).headers.slice(-2), ["Retry-After", "1"]);
});
