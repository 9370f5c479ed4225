import { test } from "tap";
import type { ProxyResponse } from "../../../core/index.ts";
import { type Answer, choosing, many, named, optionsOf, refuse } from "../../support/choosing.ts";
import { exchangeOf, responseOf } from "../../support/exchange.ts";

const RANDOM = "balancing: { algorithm: random }";

/** Two endpoints, of which a caller names the first, and what it is asked when. */
function ofTwo(t: Parameters<typeof choosing>[0], settings: string, answer: Answer) {
  const asked: (readonly [address: string, atMs: number])[] = [];
  const world = choosing(t, many("a", 2), {
    options: optionsOf(`${RANDOM}, ${settings}`),
    answer: (address, exchange) => {
      asked.push([address, world.clock.now()]);
      return answer(address, exchange);
    },
  });
  const send = (pinnedTo: string) =>
    world.send(world.way(), exchangeOf({ nowMs: world.clock.now(), pinnedTo }));
  return { world, asked, send };
}

test("whom a caller has named gets all of its requests, even if something is said against it", async (t) => {
  const world = choosing(t, [...many("a", 9), named("x", { unwell: true })]);
  const make = () => exchangeOf({ pinnedTo: "x:1" });
  t.same(world.counts(100, make), { x: 100 });
  t.same(world.attempts(make(), 3), ["x", "x", "x"], "and every further attempt");
  world.upstream.update(many("a", 9));
  t.throws(() => world.choose(make()), { code: "no_endpoint", message: "discovery does not name x:1" });
});

test("no attempt is made beside a slow one at another endpoint than the one that was named", async (t) => {
  const { world, asked, send } = ofTwo(
    t,
    "hedge: { after: 20ms, ratio: 100% }",
    () =>
      new Promise<ProxyResponse>((resolve) => {
        world.clock.schedule(500, () => resolve(responseOf()));
      }),
  );
  t.equal(await send("a0:1"), 200);
  t.same(
    asked.map(([address]) => address),
    ["a0"],
  );
  t.same(Object.fromEntries(world.upstream.counts().hedges), { no_other: 1 });
  asked.length = 0;
  t.equal(await send(""), 200);
  t.equal(asked.length, 2, "as there would be for whoever names none");
});

test("who names an endpoint that refuses does not knock there again without a pause", async (t) => {
  const { asked, send } = ofTwo(t, "retries: { attempts: 1 }", refuse);
  t.equal(await send(""), "connect_failed");
  t.equal(asked[1]![1], asked[0]![1], "elsewhere it goes at once");
  asked.length = 0;
  t.equal(await send("a0:1"), "connect_failed");
  t.same(
    asked.map(([address]) => address),
    ["a0", "a0"],
  );
  t.ok(asked[1]![1] > asked[0]![1], "there it waits");
});

test("who names an endpoint that has asked to be left alone waits for it, though another one has not asked", async (t) => {
  const { asked, send } = ofTwo(t, "retries: { attempts: 1, on: [503] }", async () =>
    responseOf(503, undefined, ["Retry-After", "1"]),
  );
  t.equal(await send("a0:1"), 503);
  t.equal(asked.length, 2);
  t.ok(asked[1]![1] - asked[0]![1] >= 1_000, "a second later");
});
