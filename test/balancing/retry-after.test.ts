import { test } from "tap";
import { createBalancer, PeakEwma } from "../../balancing/index.ts";
import { seededRandom } from "../support/seeded-random.ts";

function replicas(count: number) {
  return Array.from({ length: count }, (_, i) => ({
    key: `${i}`,
    weight: 1,
    inFlight: 0,
    latency: new PeakEwma(),
  }));
}

for (const choices of [2, 3])
  test(`peakEwma leaves alone who has asked for it, as long as it has asked, with ${choices} choices`, async (t) => {
    const balancer = createBalancer({ algorithm: "peakEwma", choices }, seededRandom(choices));
    const endpoints = replicas(3);
    const [first, ...others] = endpoints;
    for (const { latency } of others) latency.observe(200, false, 0);
    first!.latency.observe(1, false, 0);
    first!.latency.holdOff(5_000, 0);
    for (let nowMs = 0; nowMs < 5_000; nowMs += 10) t.not(balancer.pick(endpoints, nowMs), first);
    const later = Array.from({ length: 30 }, () => balancer.pick(endpoints, 5_000));
    t.ok(later.includes(first), "then it is the quickest again");
  });

test("when everybody has asked to be left alone, the quickest of them is asked", async (t) => {
  const balancer = createBalancer({ algorithm: "peakEwma" }, seededRandom(1));
  const [quick, slow] = replicas(2);
  quick!.latency.observe(10, false, 0);
  slow!.latency.observe(500, false, 0);
  for (const { latency } of [quick!, slow!]) latency.holdOff(1_000, 0);
  for (let i = 0; i < 20; i++) t.equal(balancer.pick([quick!, slow!], 500), quick);
});

test("nobody is left alone for more than half a minute at a time, and a shorter wish does not end a longer one", async (t) => {
  const latency = new PeakEwma();
  latency.holdOff(86_400_000, 0);
  latency.holdOff(1_000, 1);
  t.ok(latency.isHeldOff(29_999));
  t.notOk(latency.isHeldOff(30_000));
});
