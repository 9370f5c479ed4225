import { test } from "tap";
import { placeOfId } from "../../balancing/index.ts";
import type { Instance } from "../../discovery/index.ts";
import { Peers, situationAmong } from "../../proxy/control/peers.ts";
import type { Situation } from "../../proxy/upstream/index.ts";
import { situationOfWorker } from "../../proxy/workers/per-worker.ts";

const peer = (address: string, more: Partial<Instance> = {}): Instance => ({
  address,
  port: 80,
  weight: 1,
  source: "consul",
  health: "passing",
  ...more,
});

const SELF = { id: "web-1", zone: "a", isOwn: ({ address }: Instance) => address === "10.0.0.2" };

test("a sidecar's place is among the instances of its service, and it counts where they are", async (t) => {
  const peers = [
    peer("10.0.0.3", { zone: "b" }),
    peer("10.0.0.1", { zone: "a", health: "critical" }),
    peer("10.0.0.2", { zone: "a" }),
    peer("10.0.0.9"),
    peer("10.0.0.0", { zone: "b", health: "maintenance" }),
  ];
  t.same(situationAmong(peers, SELF), {
    zone: "a",
    place: { index: 1, count: 4 },
    callers: { a: 2, b: 1, "": 1 },
  });
});

test("one that does not see itself takes nobody's place, and knows nothing of where callers are", async (t) => {
  t.same(situationAmong([peer("10.0.0.1", { zone: "a" })], SELF), { zone: "a", place: placeOfId("web-1") });
  t.same(situationAmong([], SELF), { zone: "a", place: placeOfId("web-1") });
});

test("only a change is told, and a source that has fallen silent changes nothing", async (t) => {
  const told: Situation[] = [];
  let say: (instances: readonly Instance[]) => void = () => {};
  let fail: () => void = () => {};
  let stopped = 0;
  const peers = new Peers({
    ...SELF,
    source: {
      name: "consul:web",
      start(sink) {
        say = (instances) => sink.list(instances);
        fail = () => sink.silent("gone");
      },
      stop: () => stopped++,
    },
    onSituation: (situation) => told.push(situation),
  });
  t.same(peers.situation, { zone: "a", place: placeOfId("web-1") });
  peers.start();
  say([peer("10.0.0.2", { zone: "a" })]);
  say([peer("10.0.0.2", { zone: "a" })]);
  t.same(told, [{ zone: "a", place: { index: 0, count: 1 }, callers: { a: 1 } }]);
  fail();
  t.equal(told.length, 1);
  say([peer("10.0.0.2", { zone: "a" }), peer("10.0.0.1", { zone: "b" })]);
  t.same(peers.situation, { zone: "a", place: { index: 1, count: 2 }, callers: { a: 1, b: 1 } });
  peers.stop();
  t.equal(stopped, 1);
});

test("workers divide the place of their sidecar among them, so that no two are the same", async (t) => {
  const places = [0, 1, 2].flatMap((index) =>
    [0, 1].map((worker) => situationOfWorker({ place: { index, count: 3 } }, worker, 2).place),
  );
  t.same(
    places,
    [0, 1, 2, 3, 4, 5].map((index) => ({ index, count: 6 })),
  );
  t.same(situationOfWorker({ zone: "a" }, 1, 2), { zone: "a" });
});
