import { test } from "tap";
import { isShed, LastingDelay, Pressure, pressureOf } from "../../resilience/index.ts";
import { shedShare } from "../../resilience/shedding.ts";
import { seededRandom } from "../support/seeded-random.ts";

const [CRITICAL, DEFAULT, SHEDDABLE] = [0, 1, 2];

test("no request is refused before all that matter less are", async (t) => {
  for (let pressure = 0; pressure <= 1; pressure += 1 / 64) {
    if (shedShare(pressure, DEFAULT) > 0) t.equal(shedShare(pressure, SHEDDABLE), 1);
    if (shedShare(pressure, CRITICAL) > 0) t.equal(shedShare(pressure, DEFAULT), 1);
  }
  t.same(
    [CRITICAL, DEFAULT, SHEDDABLE].map((rank) => shedShare(0, rank)),
    [0, 0, 0],
  );
  t.same(
    [CRITICAL, DEFAULT, SHEDDABLE].map((rank) => shedShare(1, rank)),
    [1, 1, 1],
  );
});

test("as pressure grows, the share that is refused grows with it, without a step", async (t) => {
  for (const rank of [CRITICAL, DEFAULT, SHEDDABLE])
    for (let pressure = 0; pressure < 1; pressure += 0.01) {
      const step = shedShare(pressure + 0.01, rank) - shedShare(pressure, rank);
      t.ok(step >= 0 && step < 0.031);
    }
  const random = seededRandom(1);
  let refused = 0;
  for (let i = 0; i < 10_000; i++) if (isShed(1 / 6, SHEDDABLE, random)) refused++;
  // Half of them: five standard deviations are 250.
  t.ok(Math.abs(refused - 5000) < 250, `${refused}`);
});

test("where nothing is to be decided, no chance is used up", async (t) => {
  const random = { next: () => t.fail("it was asked") as never };
  t.equal(isShed(0, SHEDDABLE, random), false);
  t.equal(isShed(0.5, SHEDDABLE, random), true);
  t.equal(isShed(0.3, DEFAULT, random), false);
});

test("pressure rises at once and falls slowly, so that relief does not let everybody in again", async (t) => {
  const pressure = new Pressure();
  t.equal(pressure.value, 0);
  pressure.measure(0.8, 1000);
  t.equal(pressure.value, 0.8);
  pressure.measure(0, 1500);
  t.equal(pressure.value, 0.55);
  pressure.measure(0.9, 1600);
  t.equal(pressure.value, 0.9);
  pressure.measure(0, 9000);
  t.equal(pressure.value, 0, "and not below none");
});

test("pressure begins where it is configured to and is whole where there is no room left", async (t) => {
  t.same(
    [50, 100, 150, 200, 300, 1000].map((delayMs) => pressureOf(delayMs, 100, 300)),
    [0, 0, 0.25, 0.5, 1, 1],
  );
});

test("one long pause is no overload, and a delay that lasts is", async (t) => {
  const delay = new LastingDelay();
  t.same(
    [500, 0, 900, 0, 300, 200, 250, 200, 400, 0].map((ms) => delay.look(ms)),
    [0, 0, 0, 0, 0, 0, 0, 200, 200, 0],
  );
});
