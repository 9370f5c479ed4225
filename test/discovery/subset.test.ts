import { test } from "tap";
import { readHealthEntries } from "../../discovery/consul/health-entries.ts";
import { LastGood } from "../../discovery/outage/last-good.ts";
import { QuestionLimit } from "../../discovery/question-limit.ts";
import type { Instance, Labels, RegistryHealth, Sink, Source } from "../../discovery/source.ts";
import { inSubset, type Subset, SubsetSource, subsetText } from "../../discovery/subset.ts";
import { Supply } from "../../discovery/supply.ts";
import { OPTIONS } from "../support/guarded.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

const V2: Subset = { tags: ["v2"], meta: {} };

function instance(port: number, labels?: Labels, health: RegistryHealth = "passing"): Instance {
  const at = { address: "10.0.0.1", port, weight: 1, source: "test", health };
  return labels === undefined ? at : { ...at, labels };
}

const tagged = (port: number, tag: string, health: RegistryHealth = "passing") =>
  instance(port, { tags: [tag] }, health);

/** A source that lists what a test wants, a subset of it, and what is made of that further on. */
function subsetOf(subset: Subset, copyName?: string) {
  const clock = new ManualClock();
  const records: LogRecord[] = [];
  const { log } = logInto(records);
  const lastGood = new LastGood(undefined, OPTIONS.keepForMs, { clock, wallClock: () => clock.now(), log });
  let sink: Sink | undefined;
  let stops = 0;
  const source: Source = {
    name: "consul:orders",
    ...(copyName === undefined ? {} : { copyName }),
    start: (given) => {
      sink = given;
    },
    stop: () => stops++,
  };
  const asked: number[] = [];
  const told: string[] = [];
  const chosen = new SubsetSource(source, subset, log);
  const probe = async ({ port }: { readonly port: number }) => {
    asked.push(port);
    return { passing: true, note: "connected" };
  };
  const supply = new Supply(
    [chosen],
    { merge: "fallback", outage: OPTIONS },
    {
      name: "orders",
      clock,
      random: seededRandom(1),
      log,
      lastGood,
      probe,
      questionLimit: new QuestionLimit(),
    },
    (endpoints) => told.push(endpoints.map(({ port }) => port).join(" ")),
  );
  supply.start();
  return {
    chosen,
    supply,
    records,
    lastGood,
    asked,
    told,
    stops: () => stops,
    async lists(...instances: Instance[]) {
      sink!.list(instances);
      await clock.pass(100);
    },
    async isSilent() {
      sink!.silent("away");
      await clock.pass(100);
    },
    seen: () => supply.view().sources[0]!,
  };
}

test("in a subset is who has all of its tags and all of its metadata", async (t) => {
  const all = [
    instance(1),
    instance(2, {}),
    instance(3, { tags: ["v2"] }),
    instance(4, { tags: ["eu", "v2"], meta: { version: "2" } }),
    instance(5, { tags: ["V2", "eu"], meta: { version: "2", color: "red" } }),
    instance(6, { meta: { version: "22" } }),
  ];
  const ports = (tags: string[], meta: Record<string, string> = {}) =>
    inSubset(all, { tags, meta })
      .map(({ port }) => port)
      .join(" ");
  t.equal(ports(["v2"]), "3 4", "as it is written");
  t.equal(ports(["v2", "eu"]), "4");
  t.equal(ports([], { version: "2" }), "4 5", "the whole value");
  t.equal(ports([], { version: "2", color: "red" }), "5");
  t.equal(ports(["v2"], { color: "red" }), "");
  t.equal(ports([], { constructor: "x" }), "", "a key that every object has is no key");
  t.equal(ports([], { toString: "x" }), "");
  t.equal(inSubset(all, undefined).length, 6);
  t.ok(
    inSubset(all, undefined).every((one) => !("labels" in one)),
    "and what they were chosen by stays behind",
  );
});

test("a subset is called by what is wanted", async (t) => {
  t.equal(subsetText(V2), "tags v2");
  t.equal(
    subsetText({ tags: ["v2", "eu"], meta: { version: "2", color: "red" } }),
    "tags v2, eu and meta version=2, color=red",
  );
  t.equal(subsetText({ tags: [], meta: { version: "2" } }), "meta version=2");
});

test("only the subset is told and kept, under a name that tells it from others", async (t) => {
  const { told, lists, lastGood, chosen, supply } = subsetOf(V2);
  await lists(tagged(1, "v1"), tagged(2, "v2"), tagged(3, "v2", "critical"), instance(4));
  t.same(told, ["2"]);
  t.equal(chosen.name, "consul:orders (tags v2)");
  const kept = lastGood.recall(chosen.copyName)?.instances;
  t.same(kept, [{ address: "10.0.0.1", port: 2, weight: 1, source: "test", health: "passing" }]);
  t.equal(lastGood.recall("consul:orders"), undefined);
  t.same(
    supply.view().sources[0]!.instances.map(({ address, health, used, why }) => [address, health, used, why]),
    [
      ["10.0.0.1:1", "outside", false, "not in the subset tags v2"],
      ["10.0.0.1:2", "passing", true, undefined],
      ["10.0.0.1:3", "critical", false, undefined],
      ["10.0.0.1:4", "outside", false, "not in the subset tags v2"],
    ],
    "and why others are not",
  );
});

test("one subset has one copy, however it is written, and others have others", async (t) => {
  const copyOf = (tags: string[], meta: Record<string, string> = {}, copyName?: string) =>
    subsetOf({ tags, meta }, copyName).chosen.copyName;
  t.equal(copyOf(["a", "b"], { x: "1", y: "2" }), copyOf(["b", "a"], { y: "2", x: "1" }));
  const all = [
    copyOf(["a", "b"]),
    copyOf(["a, b"]),
    copyOf(["a"]),
    copyOf(["a", "b"], { x: "1" }),
    copyOf([], { x: "1" }),
    copyOf([], { x: "1", y: "2" }),
    copyOf([], { x: "1, y=2" }),
    copyOf(["a"], {}, "file:/run/orders.yaml"),
    "consul:orders",
  ];
  t.equal(new Set(all).size, all.length);
});

test("an empty subset says once for as long as it lasts how many there are without it", async (t) => {
  const { told, lists, records, seen } = subsetOf(V2);
  const warnings = () => records.filter(({ level }) => level === "warn").map(({ msg }) => msg);
  await lists();
  t.same([warnings(), seen().why], [[], undefined], "that there is nobody is not for the subset");
  await lists(tagged(1, "v1"));
  t.same(warnings(), ["consul:orders lists 1 instance, none in the subset tags v2"]);
  await lists(tagged(1, "v1"), tagged(2, "v1"), tagged(3, "v1"));
  t.equal(warnings().length, 1);
  t.equal(seen().why, "consul:orders lists 3 instances, none in the subset tags v2", "as things are now");
  t.equal(seen().state, "current");
  await lists(tagged(1, "v1"), tagged(2, "v2", "critical"));
  t.equal(seen().why, undefined, "there is one, and it is another matter that it is not well");
  await lists(tagged(1, "v1"));
  t.equal(warnings().length, 2);
  t.same(told, [""]);
});

test("who gets another tag has left, and is not asked; who is not listed any more is", async (t) => {
  const { told, asked, lists } = subsetOf(V2);
  await lists(tagged(1, "v2"), tagged(2, "v2"), tagged(3, "v1"));
  await lists(tagged(1, "v1"), tagged(2, "v1"), tagged(3, "v2"));
  t.same([told, asked], [["1 2", "3"], []]);
  await lists(tagged(1, "v1"), tagged(2, "v1"), tagged(3, "v1"));
  t.same([told.at(-1), asked], ["", []], "also when nobody is left");
  const other = subsetOf(V2);
  await other.lists(tagged(1, "v2"), tagged(2, "v2"), tagged(3, "v1"));
  await other.lists(tagged(3, "v1"));
  t.same(other.told, ["1 2"], "an outage is judged by the subset: all of it would be gone");
  t.same([...new Set(other.asked)].sort(), [1, 2]);
});

test("a start beside a registry that has given its last endpoints away does not take them from a copy", async (t) => {
  const { told, asked, lists, lastGood, chosen } = subsetOf(V2);
  lastGood.remember(chosen.copyName, [instance(1), instance(2)]);
  await lists(tagged(1, "v1"), tagged(3, "v1"));
  t.same([told.at(-1), [...new Set(asked)]], ["2", [2]], "only the one that is not listed is in doubt");
});

test("a silence is a silence, and stop is passed on", async (t) => {
  const { told, lists, isSilent, seen, supply, stops } = subsetOf(V2);
  await lists(tagged(1, "v2"));
  await isSilent();
  t.match(seen(), { state: "silent", why: "away" });
  t.same(told, ["1"]);
  supply.stop();
  t.equal(stops(), 1);
});

test("two registrations of one address are one instance, which is in the subset if one of them is", async (t) => {
  for (const order of [
    [tagged(1, "v1"), tagged(1, "v2")],
    [tagged(1, "v2"), tagged(1, "v1")],
  ]) {
    const { told, lists } = subsetOf(V2);
    await lists(...order);
    t.same(told, ["1"]);
  }
});

test("two registrations of one address with different tags are kept apart as far as subsets are asked for", async (t) => {
  const entry = (id: string, tag: string, status = "passing") => ({
    Node: { Address: "10.0.0.1" },
    Service: { ID: id, Service: "orders", Port: 80, Tags: [tag], Meta: {} },
    Checks: [{ CheckID: "alive", Name: "alive", Status: status }],
  });
  const blue = entry("a", "blue");
  for (const list of [
    [blue, entry("b", "green")],
    [entry("b", "green"), blue],
    [blue, entry("b", "green", "warning")],
  ]) {
    const { instances } = readHealthEntries(list, { source: "consul:orders", labelled: true })!;
    for (const tag of ["blue", "green"])
      t.equal(inSubset(instances, { tags: [tag], meta: {} }).length, 1, tag);
    t.equal(readHealthEntries(list, { source: "consul:orders" })!.instances.length, 1, "else they are one");
  }
});
