import fc from "fast-check";
import { test } from "tap";
import { type Endpoint, endpointKey } from "../../core/index.ts";
import { MERGES, type Merge, merged, type Offer } from "../../discovery/merge.ts";
import { said } from "../support/guarded.ts";

const keys = (text: string) => new Set(said(text).map(endpointKey));
const nobody = () => false;
const these = (text: string) => (key: string) => keys(text).has(key);

/** What a guard has in use, which of it is a last resort, and whom it knows to be unwell besides. */
function offer(inUse: string, lastResort = "", unwell = ""): Offer {
  const endpoints = (text: string) => said(text).map(({ health: _, ...endpoint }): Endpoint => endpoint);
  return { endpoints: endpoints(inUse), lastResort: keys(lastResort), unwell: endpoints(unwell) };
}

/** `1 2@1 3@1!`: ports, levels other than the first, and a mark on those that are told as unwell. */
function text(endpoints: readonly Endpoint[]): string {
  return endpoints
    .map(
      ({ port, priority = 0, unwell }) =>
        `${port}${priority === 0 ? "" : `@${priority}`}${unwell ? "!" : ""}`,
    )
    .join(" ");
}

const together = (merge: Merge, offers: readonly Offer[], failing: (key: string) => boolean = nobody) =>
  text(merged(offers, merge, failing));

test("sources that are put together are ordered by preference, wherever they are well", async (t) => {
  t.equal(together("union", []), "");
  t.equal(together("fallback", []), "");
  t.equal(together("priority", []), "");
  t.equal(together("fallback", [offer(""), offer("2")]), "2");
  t.equal(together("fallback", [offer("1", "1"), offer("")]), "1");
  t.equal(together("union", [offer("1", "1"), offer("2")]), "2");
  t.equal(together("fallback", [offer("1 2", "1"), offer("3")], these("2")), "3");
  t.equal(
    together("fallback", [offer("1"), offer("2")], () => true),
    "1",
  );
  t.equal(
    together("union", [offer("1"), offer("2")], () => true),
    "1 2",
  );
});

test("with one level those that are not well are nobody's business", async (t) => {
  for (const merge of MERGES) {
    t.equal(together(merge, [offer("1 2", "", "3")]), "1 2", merge);
    t.equal(together(merge, [offer("1 2", "1", "3")]), "2", merge);
    t.equal(
      together(merge, [offer("1 2", "", "3")], () => true),
      "1 2",
      "the checks are more likely wrong",
    );
    t.equal(together(merge, [offer("1 2", "1 2", "3")]), "1 2", "a last resort");
    t.equal(together(merge, [offer("1@2 2@2", "", "3@2")]), "1@2 2@2", "also if it is not the first level");
    t.strictSame(merged([offer("1", "", "2")], merge, nobody), offer("1").endpoints, "and nothing is added");
  }
});

test("where there are levels, those that are not well are told, too, and marked", async (t) => {
  for (const merge of MERGES) {
    t.equal(together(merge, [offer("1 2@1", "", "3 4@1")]), "1 2@1 3! 4@1!", merge);
    t.equal(together(merge, [offer("1 2 3@1", "2")], these("3")), "1 2! 3@1!", "whoever says so");
    t.equal(together(merge, [offer("1", "", "2@1")]), "1 2@1!", "also when nobody of a level is well");
    t.equal(together(merge, [offer("1 2@1", "1 2")]), "1! 2@1!", "or nobody at all");
    t.equal(together(merge, [offer("", "", "1 2@1")]), "", "but not when nobody may serve");
  }
});

test("a fallback tells the levels of the source that it chooses, and not of the others", async (t) => {
  t.equal(together("fallback", [offer("1", "1", "2@1"), offer("3 4@1", "", "5")]), "3 4@1 5!");
  t.equal(together("fallback", [offer("1"), offer("3 4@1")]), "1");
});

test("a source's levels stand behind all of those before it, in their own order", async (t) => {
  t.equal(together("priority", [offer("1"), offer("2"), offer("3")]), "1 2@1 3@2");
  t.equal(together("priority", [offer("1 2@1"), offer("3 4@1"), offer("5@3")]), "1 2@1 3@2 4@3 5@7");
  t.equal(
    together("priority", [offer("1", "", "2@2"), offer("3")]),
    "1 3@3 2@2!",
    "those of the unwell are levels",
  );
  t.equal(
    together("priority", [offer(""), offer("3"), offer("4")]),
    "3@1 4@2",
    "an empty one keeps its place",
  );
  t.equal(
    together("priority", [offer("", "", "1"), offer("3")]),
    "3@1 1!",
    "and one that is unwell is counted",
  );
});

test("an address in several sources is told once, where it is well, and else where it is named first", async (t) => {
  t.equal(together("priority", [offer("1 2"), offer("2 3")]), "1 2 3@1");
  t.equal(together("priority", [offer("1", "", "2"), offer("2 3")]), "1 2@1 3@1");
  t.equal(together("priority", [offer("1 2"), offer("2 3")], these("2")), "1 3@1 2!");
  t.equal(together("priority", [offer("1 2"), offer("1 2")], these("2")), "1", "the same twice is one level");
  t.equal(together("union", [offer("1", "", "2@1"), offer("2 3@2")]), "1 2 3@2");
});

test("whatever is offered, each address is told once, and whoever is told is known", async (t) => {
  const some = fc.uniqueArray(
    fc.record({
      port: fc.integer({ min: 1, max: 6 }),
      level: fc.integer({ min: 0, max: 2 }),
      as: fc.constantFrom("in use", "last resort", "unwell"),
    }),
    { selector: ({ port }) => port },
  );
  const textOf = (of: readonly { readonly port: number; readonly level: number }[]) =>
    of.map(({ port, level }) => (level === 0 ? `${port}` : `${port}@${level}`)).join(" ");
  const property = fc.property(
    fc.array(some, { maxLength: 3 }),
    fc.uniqueArray(fc.integer({ min: 1, max: 6 })),
    fc.constantFrom(...MERGES),
    (lists, dead, merge) => {
      const offers = lists.map((list) =>
        offer(
          textOf(list.filter((one) => one.as !== "unwell")),
          textOf(list.filter((one) => one.as === "last resort")),
          textOf(list.filter((one) => one.as === "unwell")),
        ),
      );
      const failing = these(dead.join(" "));
      const told = merged(offers, merge, failing);
      const ports = told.map(({ port }) => port);
      const known = lists.flat();
      const levels = new Set(told.map(({ priority = 0 }) => priority));
      const isWell = (port: number) =>
        !dead.includes(port) && known.some((one) => one.port === port && one.as === "in use");
      return (
        new Set(ports).size === ports.length &&
        ports.every((port) => known.some((one) => one.port === port)) &&
        (ports.length > 0 || known.every(({ as }) => as === "unwell")) &&
        // Of a fallback only the source that is used counts.
        (levels.size <= 1 ||
          merge === "fallback" ||
          told.every(({ port, unwell }) => (unwell === true) === !isWell(port))) &&
        (levels.size > 1 || told.every(({ unwell }) => unwell === undefined))
      );
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: 20_260_101, numRuns: 2_000 }));
});
