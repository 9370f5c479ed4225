/**
 * What a breaker lets through in the long run where nobody else judges: the figures of docs/outliers.md. Apart from the other
 * promises of breakers, whose opossum has its own timer: here that one stands still and is moved with the clock.
 */
import { readFileSync } from "node:fs";
import { mock } from "node:test";
import { test } from "tap";
import { parseConfig } from "../../config/index.ts";
import { Breaker, BreakerRotation } from "../../resilience/index.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const HOURS = 40;
/** Ten a second. */
const EVERY_MS = 100;
const AN_HOUR = 3_600_000 / EVERY_MS;

/** Hours of an endpoint that fails this share of its requests, each hour with a breaker of its own. */
function hours(fails: number) {
  const { breaker: options } = parseConfig("upstreams: { orders: { endpoints: [127.0.0.1:1] } }", "test", {})
    .upstreams["orders"]!.options;
  let passed = 0;
  let opened = 0;
  for (let hour = 1; hour <= HOURS; hour++) {
    const clock = new ManualClock();
    const random = seededRandom(hour);
    const rotation = new BreakerRotation(clock, options.windowMs);
    const breaker = new Breaker(options, { clock, random, rotation }, (state) => {
      if (state === "open") opened++;
    });
    for (let i = 0; i < AN_HOUR; i++) {
      const permit = breaker.admit();
      if (permit !== undefined) {
        passed++;
        breaker.settle(permit, random.next() < fails ? "failure" : "success", 503);
      }
      clock.advance(EVERY_MS);
      mock.timers.tick(EVERY_MS);
    }
    breaker.stop();
    rotation.stop();
  }
  return { passes: passed / (HOURS * AN_HOUR), opens: opened / HOURS };
}

test("a breaker alone lets through what docs/outliers.md says", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const page = readFileSync(new URL("../../docs/outliers.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\d+) % \| (\d+) % \| (\d+) \| [\d.]+ % \|$/gm)];
  t.equal(rows.length, 3);
  for (const [, fails, passes, opens] of rows) {
    const figures = hours(Number(fails) / 100);
    t.equal(
      (figures.passes * 100).toFixed(0),
      passes,
      `per cent of what one that fails ${fails} % would get`,
    );
    t.equal(figures.opens.toFixed(0), opens, "openings in an hour");
  }
});
