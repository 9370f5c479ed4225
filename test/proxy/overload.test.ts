import { test } from "tap";
import type { Exchange, ProxyError } from "../../core/index.ts";
import { mergedOverload, OverloadMonitor, type OverloadOptions } from "../../proxy/overload.ts";
import { shed } from "../../proxy/shed.layer.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const GIB = 1024 ** 3;

/** A monitor over a loop and a memory that a test fills. */
function monitored(options: Partial<OverloadOptions> = {}) {
  const clock = new ManualClock();
  const memory = { resident: 0.1 * GIB };
  const monitor = new OverloadMonitor({ eventLoopDelayMs: 100, memory: 0.9, ...options }, clock, {
    residentBytes: () => memory.resident,
    limitBytes: () => GIB,
  });
  monitor.start();
  pass(clock, 1000);
  return { clock, memory, monitor };
}

function pass(clock: ManualClock, ms: number): void {
  for (let passed = 0; passed < ms; passed += 50) clock.advance(50);
}

/** A loop whose every timer is so late, for so many of them. */
function late(clock: ManualClock, monitor: OverloadMonitor, byMs: number, times: number): void {
  for (let i = 0; i < times; i++) {
    const { schedule } = clock;
    clock.schedule = (delayMs, callback) => schedule.call(clock, delayMs + byMs, callback);
    clock.advance(50 + byMs);
    clock.schedule = schedule;
  }
  void monitor;
}

test("a loop that is late for a while is pressure, a pause is none", async (t) => {
  const { clock, monitor } = monitored();
  t.equal(monitor.pressure, 0);
  late(clock, monitor, 5000, 1);
  pass(clock, 200);
  t.equal(monitor.pressure, 0, "a pause");
  late(clock, monitor, 215, 8);
  t.equal(monitor.pressure, 0.5, "halfway from 100 ms to 300 ms");
  pass(clock, 5000);
  t.equal(monitor.pressure, 0, "over");
  monitor.stop();
  t.equal(clock.pending, 0, "no timer is left");
});

test("memory is pressure from its share on, against the limit of the group or the one that is configured", async (t) => {
  const { clock, memory, monitor } = monitored();
  memory.resident = 0.95 * GIB;
  pass(clock, 1000);
  t.match(monitor.pressure.toFixed(6), "0.500000");
  t.match(monitor.report().pressure, { event_loop: 0 });
  monitor.stop();
  const configured = monitored({ memoryBytes: 2 * GIB });
  configured.memory.resident = 1.7 * GIB;
  pass(configured.clock, 1000);
  t.equal(configured.monitor.pressure, 0);
  configured.monitor.stop();
});

test("without a limit, memory is no pressure", async (t) => {
  const clock = new ManualClock();
  const monitor = new OverloadMonitor({ eventLoopDelayMs: 100, memory: 0.9 }, clock, {
    residentBytes: () => 1e15,
    limitBytes: () => Number.POSITIVE_INFINITY,
  });
  monitor.start();
  pass(clock, 1000);
  t.equal(monitor.pressure, 0);
  monitor.stop();
});

test("under pressure the least critical are refused first, with a time to wait; a health question never is", async (t) => {
  const { monitor } = monitored();
  const handle = shed(monitor, seededRandom(1)).wrap(async () => responseOf());
  const ask = (criticality: string, asksForHealth = false): Promise<string> => {
    const headers = criticality === "" ? [] : ["x-heddle-criticality", criticality];
    const exchange: Exchange = exchangeOf({ direction: "inbound", headers });
    exchange.asksForHealth = asksForHealth;
    return handle(exchange).then(
      ({ status }) => String(status),
      (thrown: ProxyError) => `${thrown.kind.status} ${thrown.code} ${thrown.detail} ${thrown.headers}`,
    );
  };
  const all = () => Promise.all(["critical", "", "sheddable"].map((criticality) => ask(criticality)));
  t.same(await all(), ["200", "200", "200"]);
  monitor.pressure = 1 / 3;
  t.same(await all(), ["200", "200", "503 overloaded sheddable Retry-After,1"]);
  monitor.pressure = 2 / 3;
  t.same(await all(), [
    "200",
    "503 overloaded default Retry-After,1",
    "503 overloaded sheddable Retry-After,1",
  ]);
  monitor.pressure = 1;
  t.match((await all())[0], /503 overloaded critical/);
  t.equal(await ask("", true), "200");
  t.same(monitor.report().shed, { critical: 1, default: 2, sheddable: 3 });
  monitor.stop();
});

test("of several data planes, the greatest pressure counts and refusals add up", async (t) => {
  const report = (eventLoop: number, sheddable: number) => ({
    pressure: { event_loop: eventLoop, memory: 0.1 },
    shed: { critical: 0, default: 1, sheddable },
  });
  const gone = { pressure: {}, shed: { critical: 0, default: 0, sheddable: 7 } };
  t.same(mergedOverload([gone, report(0.2, 3), report(0.6, 4)]), {
    pressure: { event_loop: 0.6, memory: 0.1 },
    shed: { critical: 0, default: 2, sheddable: 14 },
  });
  t.equal(mergedOverload([undefined, undefined]), undefined);
});
