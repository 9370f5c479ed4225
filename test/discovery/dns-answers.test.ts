import { type Answer, encode, type OptAnswer } from "dns-packet";
import { test } from "tap";
import { below } from "../../core/index.ts";
import { readAdditional, readTargets } from "../../discovery/dns/answers.ts";
import { readReply } from "../../discovery/dns/message.ts";
import { followed, NAME } from "../support/dns-follower.ts";
import {
  a,
  aaaa,
  bytesOf,
  cname,
  NXDOMAIN,
  only,
  REFUSED,
  type Script,
  SERVFAIL,
  soa,
  srv,
  startDnsServer,
  zone,
} from "../support/dns-server.ts";
import { settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

test("the addresses of both families are one list, sorted, each with the port that was given", async (t) => {
  const server = await startDnsServer(
    t,
    zone(a(NAME, "10.0.0.2"), a(NAME, "10.0.0.1"), a(NAME, "10.0.0.2"), aaaa(NAME, "fd00::1")),
  );
  const { nth, lists } = followed(t, [server]);
  t.same(await nth(1), ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
  t.same(lists[0]![0], {
    address: "10.0.0.1",
    port: 80,
    weight: 1,
    source: `dns:${NAME}`,
    health: "passing",
  });
  t.same(server.asked.map(({ type }) => type).sort(), ["A", "AAAA"]);
});

test("one family is enough, whichever it is and whether the name is unknown or has no such records", async (t) => {
  for (const nothing of [NXDOMAIN, {}, { authorities: [soa("mesh", 5)] }]) {
    const four = followed(t, [
      await startDnsServer(t, only("A", { answers: [a(NAME, "10.0.0.1")] }, nothing)),
    ]);
    t.same(await four.nth(1), ["10.0.0.1:80"]);
    const six = followed(t, [
      await startDnsServer(t, only("AAAA", { answers: [aaaa(NAME, "::1")] }, nothing)),
    ]);
    t.same(await six.nth(1), ["[::1]:80"]);
  }
});

test("a name that is not there is an empty list, and so is one without addresses", async (t) => {
  for (const nothing of [NXDOMAIN, {}]) {
    const { nth } = followed(t, [await startDnsServer(t, () => nothing)]);
    t.same(await nth(1), []);
  }
});

test("a server in trouble is a silence and never an empty list", async (t) => {
  const troubles: Readonly<Record<string, readonly [Script, RegExp]>> = {
    "a failure": [() => SERVFAIL, /: SERVFAIL$/],
    "a refusal": [() => REFUSED, /: REFUSED$/],
    "an unknown code": [() => ({ rcode: 9 }), /: RCODE 9$/],
    "an upper half of a code": [() => ({ additionals: [{ ...OPT, extendedRcode: 2 }] }), /: RCODE 32$/],
    "a referral to other servers": [
      () => ({ authorities: [{ type: "NS", name: "mesh", data: "ns.mesh", ttl: 9 }] }),
      /refers to other servers/,
    ],
    "records that end too early": [
      (asked) => ({
        bytes: bytesOf({ answers: [a(NAME, "10.0.0.1"), a(NAME, "10.0.0.2")] }, asked).subarray(0, -9),
      }),
      /cannot be read/,
    ],
    "an address that is cut": [
      (asked) => ({ bytes: bytesOf({ answers: [a(NAME, "10.0.0.1")] }, asked).subarray(0, -1) }),
      /cannot be read|expected an address/,
    ],
    "an address that means here": [
      ({ type }) => ({ answers: [type === "A" ? a(NAME, "0.0.0.0") : aaaa(NAME, "::")] }),
      /expected an address, got 0\.0\.0\.0/,
    ],
    "aliases in a circle": [() => ({ answers: [cname(NAME, "b.mesh"), cname("b.mesh", NAME)] }), /circle/],
    "aliases without an end": [
      ({ name }) => ({ answers: [cname(name, `x${name}`)] }),
      /lead further than 8 answers/,
    ],
  };
  for (const [trouble, [script, why]] of Object.entries(troubles)) {
    const server = await startDnsServer(t, script);
    const { nth } = followed(t, [server]);
    t.match(await nth(1), why, trouble);
    t.ok(String(await nth(1)).length > 0, trouble);
  }
});

const OPT: OptAnswer = {
  type: "OPT",
  name: ".",
  udpPayloadSize: 1232,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

test("a silence says who was asked for what, and why there was no answer", async (t) => {
  const server = await startDnsServer(t, () => SERVFAIL);
  const { nth } = followed(t, [server]);
  t.equal(await nth(1), `${NAME} A: ${server.address}: SERVFAIL`);
});

test("after a silence it keeps asking, and the first answer is a list again", async (t) => {
  const server = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  const { nth, clock, restMs, told } = followed(t, [server], {}, 0.5);
  await nth(1);
  server.script = () => SERVFAIL;
  const restsMs: number[] = [];
  for (let i = 2; i < 10; i++) {
    clock.advance(restMs());
    t.match(await nth(i), /SERVFAIL/);
    restsMs.push(restMs());
  }
  t.same(
    restsMs,
    [350, 850, 1850, 3850, 7600, 7600, 7600, 7600],
    "half of what is drawn from, which grows and is bound",
  );
  server.script = zone(a(NAME, "10.0.0.2"));
  clock.advance(restMs());
  t.same(await nth(10), ["10.0.0.2:80"]);
  t.equal(restMs(), 28_500, "and the rests begin anew");
  t.equal(told.length, 10);
});

test("the smallest TTL decides when it is asked again, the aliases' included", async (t) => {
  const chain = [cname(NAME, "b.mesh", 40), a("b.mesh", "10.0.0.1", 70), a("b.mesh", "10.0.0.2", 50)];
  const server = await startDnsServer(t, only("A", { answers: chain }, { authorities: [soa("mesh", 5)] }));
  const { nth, clock, restMs } = followed(t, [server]);
  t.same(await nth(1), ["10.0.0.1:80", "10.0.0.2:80"]);
  t.equal(restMs(), 40_000);
  clock.advance(39_999);
  await settled();
  t.equal(server.asked.length, 2, "not before");
  clock.advance(1);
  await nth(2);
  t.equal(server.asked.length, 4);
});

test("the TTL is held between the bounds, and what was promised for longer is asked a little sooner", async (t) => {
  const cases = [
    { ttl: 0, chance: 0, restMs: 1_000 },
    { ttl: 0, chance: 0.5, restMs: 950 },
    { ttl: 60, chance: 0, restMs: 60_000 },
    { ttl: 60, chance: 0.999_999, restMs: 54_000 },
    { ttl: 86_400, chance: 0, restMs: 300_000 },
    { ttl: 86_400, chance: 0.5, restMs: 285_000 },
    { ttl: 0x8000_0001, chance: 0, restMs: 1_000 },
  ];
  for (const { ttl, chance, restMs: expectedMs } of cases) {
    const server = await startDnsServer(t, only("A", { answers: [a(NAME, "10.0.0.1", ttl)] }));
    const { nth, restMs } = followed(t, [server], {}, chance);
    await nth(1);
    t.equal(Math.round(restMs()), expectedMs, `TTL ${ttl}, chance ${chance}`);
  }
});

test("that there is nothing is believed for as long as the zone says, or else for the least time", async (t) => {
  const cases = [
    { reply: { ...NXDOMAIN, authorities: [soa("mesh", 20)] }, restMs: 20_000 },
    { reply: { authorities: [soa("mesh", 20, 7)] }, restMs: 7_000 },
    { reply: { ...NXDOMAIN, authorities: [soa("mesh", 9_999)] }, restMs: 300_000 },
    { reply: { ...NXDOMAIN, authorities: [soa("mesh", 0)] }, restMs: 1_000 },
    { reply: NXDOMAIN, restMs: 1_000 },
    {
      reply: { rcode: 3, answers: [cname(NAME, "gone.mesh", 4)], authorities: [soa("mesh", 20)] },
      restMs: 4_000,
    },
  ];
  for (const { reply, restMs: expectedMs } of cases) {
    const { nth, restMs } = followed(t, [await startDnsServer(t, () => reply)]);
    t.same(await nth(1), []);
    t.equal(restMs(), expectedMs);
  }
});

test("changes are followed, and what is the same is confirmed", async (t) => {
  const server = await startDnsServer(t, zone(a(NAME, "10.0.0.1")));
  const { nth, clock, restMs } = followed(t, [server]);
  const steps: readonly [Script, readonly string[]][] = [
    [zone(a(NAME, "10.0.0.1"), a(NAME, "10.0.0.2")), ["10.0.0.1:80", "10.0.0.2:80"]],
    [zone(a(NAME, "10.0.0.2"), a(NAME, "10.0.0.1")), ["10.0.0.1:80", "10.0.0.2:80"]],
    [zone(), []],
    [zone(aaaa(NAME, "fd00::3")), ["[fd00::3]:80"]],
  ];
  t.same(await nth(1), ["10.0.0.1:80"]);
  for (const [i, [script, list]] of steps.entries()) {
    server.script = script;
    clock.advance(restMs());
    t.same(await nth(i + 2), list);
  }
});

test("an alias that leads out of the answer is followed with another question", async (t) => {
  const server = await startDnsServer(t, ({ name, type }) =>
    name === NAME
      ? { answers: [cname(NAME, "Elsewhere.Mesh", 9)] }
      : zone(a("elsewhere.mesh", "10.0.0.7", 20))({ name, type } as never),
  );
  const { nth, restMs } = followed(t, [server]);
  t.same(await nth(1), ["10.0.0.7:80"]);
  t.equal(restMs(), 9_000);
});

test("names are the same in whatever case they come back", async (t) => {
  const server = await startDnsServer(t, ({ type }) => ({
    questions: [{ name: "ORDERS.mesh", type: type as "A", class: "IN" }],
    answers: type === "A" ? [a("OrDeRs.MeSh", "10.0.0.1")] : [],
  }));
  const { nth } = followed(t, [server], { name: "Orders.Mesh." });
  t.same(await nth(1), ["10.0.0.1:80"]);
});

test("records that answer something else are passed over", async (t) => {
  const server = await startDnsServer(
    t,
    only("A", {
      answers: [
        a("other.mesh", "10.6.6.6"),
        { ...a(NAME, "10.6.6.7"), class: "CH" } as Answer,
        a(NAME, "10.0.0.1"),
      ],
    }),
  );
  t.same(await followed(t, [server]).nth(1), ["10.0.0.1:80"]);
});

test("a family that no endpoint has had may fail; one that endpoints have may not", async (t) => {
  const four = zone(a(NAME, "10.0.0.1"));
  const server = await startDnsServer(t, (asked) => (asked.type === "AAAA" ? SERVFAIL : four(asked)));
  const { nth, clock, restMs, records } = followed(t, [server]);
  t.same(await nth(1), ["10.0.0.1:80"]);
  clock.advance(restMs());
  t.same(await nth(2), ["10.0.0.1:80"]);
  t.equal(records.filter(({ msg }) => msg.includes("done without")).length, 1, "which is said once");
  server.script = zone(a(NAME, "10.0.0.1"), aaaa(NAME, "fd00::1"));
  clock.advance(restMs());
  t.same(await nth(3), ["10.0.0.1:80", "[fd00::1]:80"]);
  server.script = (asked) => (asked.type === "AAAA" ? SERVFAIL : four(asked));
  clock.advance(restMs());
  t.match(await nth(4), /SERVFAIL/, "half of the endpoints would be gone");
  server.script = zone();
  clock.advance(restMs());
  t.same(await nth(5), []);
  server.script = (asked) => (asked.type === "AAAA" ? SERVFAIL : four(asked));
  clock.advance(restMs());
  t.match(await nth(6), /SERVFAIL/, "also after the name was gone for a while");
  server.script = ({ type }) => (type === "A" ? {} : SERVFAIL);
  const fresh = followed(t, [server]);
  t.match(await fresh.nth(1), /SERVFAIL/, "and of a name that has nothing else nothing is known");
});

const SERVICE = "_orders._tcp.mesh";
const SRV = { name: SERVICE, type: "SRV", port: undefined } as const;

test("a service's targets come with their ports and weights, from the additional section or asked for", async (t) => {
  const answers = [
    srv(SERVICE, "one.mesh", 8001, { weight: 3 }),
    srv(SERVICE, "two.mesh", 8002, { weight: 0 }),
    srv(SERVICE, "one.mesh", 8003, { weight: 65_535 }),
  ];
  const addresses = [a("one.mesh", "10.0.0.1", 20), a("two.mesh", "10.0.0.2", 10)];
  const list = ["10.0.0.1:8001 x3", "10.0.0.1:8003 x65535", "10.0.0.2:8002"];
  const sending = await startDnsServer(t, only("SRV", { answers, additionals: addresses }));
  const along = followed(t, [sending], SRV);
  t.same(await along.nth(1), list);
  t.equal(sending.asked.length, 1, "what came along is not asked for");
  t.equal(along.restMs(), 10_000);
  t.equal(along.lists[0]![0]!.source, `dns:${SERVICE}`);
  const plain = await startDnsServer(t, zone(...answers, ...addresses));
  const asking = followed(t, [plain], SRV);
  t.same(await asking.nth(1), list);
  t.equal(plain.asked.length, 1 + 2 * 2, "a target that is named twice is asked for once");
  t.equal(asking.restMs(), 10_000);
});

test("only what was not sent along is asked for, and aliases are followed there too", async (t) => {
  const server = await startDnsServer(t, (asked) => {
    if (asked.type !== "SRV") return zone(a("three.mesh", "10.0.0.3"))(asked);
    return {
      answers: [srv(SERVICE, "one.mesh", 1), srv(SERVICE, "two.mesh", 2), srv(SERVICE, "three.mesh", 3)],
      additionals: [
        cname("one.mesh", "uno.mesh", 5),
        a("uno.mesh", "10.0.0.1"),
        aaaa("two.mesh", "fd00::2"),
        OPT,
      ],
    };
  });
  const { nth, restMs } = followed(t, [server], SRV);
  t.same(await nth(1), ["10.0.0.1:1", "10.0.0.3:3", "[fd00::2]:2"]);
  t.same(
    server.asked.slice(1).map(({ name }) => name),
    ["three.mesh", "three.mesh"],
  );
  t.equal(restMs(), 5_000);
});

test("a target's weight is shared by its addresses, in whole numbers", async (t) => {
  const cases: readonly (readonly [readonly Answer[], readonly string[]])[] = [
    [
      [srv(SERVICE, "one.mesh", 1, { weight: 1 }), srv(SERVICE, "two.mesh", 1, { weight: 1 })],
      ["10.0.0.1:1 x2", "10.0.0.2:1", "10.0.0.3:1"],
    ],
    [
      [srv(SERVICE, "one.mesh", 1, { weight: 60_000 }), srv(SERVICE, "two.mesh", 1, { weight: 40 })],
      ["10.0.0.1:1 x65535", "10.0.0.2:1 x22", "10.0.0.3:1 x22"],
    ],
    // Two names of one machine: it gets what both would.
    [
      [srv(SERVICE, "one.mesh", 1, { weight: 3 }), srv(SERVICE, "uno.mesh", 1, { weight: 4 })],
      ["10.0.0.1:1 x7"],
    ],
  ];
  const along = [
    a("one.mesh", "10.0.0.1"),
    a("uno.mesh", "10.0.0.1"),
    a("two.mesh", "10.0.0.2"),
    a("two.mesh", "10.0.0.3"),
  ];
  for (const [answers, list] of cases) {
    const server = await startDnsServer(t, only("SRV", { answers, additionals: along }));
    t.same(await followed(t, [server], SRV).nth(1), list);
  }
});

test("priorities are levels, those that are preferred first, and a level keeps its place when others are empty", async (t) => {
  const answers = [
    srv(SERVICE, "spare.mesh", 1, { priority: 20 }),
    srv(SERVICE, "one.mesh", 1, { priority: 10 }),
    srv(SERVICE, "gone.mesh", 1, { priority: 10 }),
    srv(SERVICE, "last.mesh", 1, { priority: 65_535, weight: 7 }),
  ];
  const spares = [a("spare.mesh", "10.0.0.8"), a("last.mesh", "10.0.0.9")];
  const server = await startDnsServer(t, zone(...answers, a("one.mesh", "10.0.0.1"), ...spares));
  const { nth, clock, restMs, lists } = followed(t, [server], SRV);
  t.same(await nth(1), ["10.0.0.1:1"], "who waits for the first word does not wait for a reserve");
  t.same(await nth(2), ["10.0.0.1:1", "10.0.0.8:1", "10.0.0.9:1 x7"]);
  const levels = () => lists.at(-1)!.map(({ priority }) => priority);
  t.strictSame(levels(), [undefined, 1, 2]);
  t.notOk("priority" in lists.at(-1)![0]!);
  server.script = zone(...answers, ...spares);
  clock.advance(restMs());
  t.same(await nth(3), ["10.0.0.8:1", "10.0.0.9:1 x7"], "the next level, when none of the first exists");
  t.strictSame(levels(), [1, 2]);
  server.script = zone(...answers);
  clock.advance(restMs());
  t.same(await nth(4), []);
});

test("a reserve that came along is there with the first word", async (t) => {
  const answers = [
    srv(SERVICE, "one.mesh", 1, { priority: 1 }),
    srv(SERVICE, "two.mesh", 1, { priority: 2 }),
  ];
  const additionals = [a("one.mesh", "10.0.0.1"), a("two.mesh", "10.0.0.2"), a("two.mesh", "10.0.0.1")];
  const server = await startDnsServer(t, only("SRV", { answers, additionals }));
  const { nth, lists } = followed(t, [server], SRV);
  t.same(await nth(1), ["10.0.0.1:1", "10.0.0.2:1"], "a machine in two levels is in the first of them");
  t.same(
    lists[0]!.map(({ priority }) => priority),
    [undefined, 1],
  );
});

test("a reserve that cannot be asked for is where it was last, and keeps nobody from the first level", async (t) => {
  const answers = [
    srv(SERVICE, "one.mesh", 1, { priority: 1 }),
    srv(SERVICE, "two.mesh", 1, { priority: 2 }),
    srv(SERVICE, "three.mesh", 1, { priority: 2 }),
  ];
  const whole = (first: string) =>
    zone(...answers, a("one.mesh", first), a("two.mesh", "10.0.0.2"), aaaa("two.mesh", "fd00::2"));
  const failing =
    (first: string, ...names: string[]): Script =>
    (asked) =>
      names.includes(asked.name) ? SERVFAIL : whole(first)(asked);
  const server = await startDnsServer(t, failing("10.0.0.1", "two.mesh"));
  const { nth, clock, restMs, records } = followed(t, [server], SRV);
  t.same(await nth(2), ["10.0.0.1:1"], "one that was never known is left out");
  t.match(
    records.filter(({ level }) => level === "warn"),
    [{ why: /two\.mesh A: .*SERVFAIL/ }],
  );
  server.script = whole("10.0.0.1");
  clock.advance(restMs());
  t.same(await nth(3), ["10.0.0.1:1", "10.0.0.2:1", "[fd00::2]:1"]);
  server.script = failing("10.0.0.7", "two.mesh", "three.mesh");
  for (const count of [4, 5]) {
    clock.advance(restMs());
    t.same(await nth(count), ["10.0.0.7:1", "10.0.0.2:1", "[fd00::2]:1"]);
  }
  server.script = failing("10.0.0.7", "one.mesh");
  clock.advance(restMs());
  t.match(await nth(6), /one\.mesh A: .*SERVFAIL/, "the first level is known or there is no list");
  server.script = (asked) =>
    asked.type === "AAAA" && asked.name !== "two.mesh" ? SERVFAIL : whole("10.0.0.1")(asked);
  clock.advance(restMs());
  t.same(
    await nth(7),
    ["10.0.0.1:1", "10.0.0.2:1", "[fd00::2]:1"],
    "and a family that only the reserve has had is not asked of it",
  );
});

test("as many priorities as targets are no more levels than a configuration may have", async (t) => {
  const names = Array.from({ length: 40 }, (_, i) => `t${i}.mesh`);
  const answers = names.map((name, i) => srv(SERVICE, name, 1, { priority: i * 100 }));
  const additionals = names.map((name, i) => a(name, `10.0.1.${i}`));
  const server = await startDnsServer(t, ({ type, via }) => {
    if (type !== "SRV") return NXDOMAIN;
    return via === "udp" ? { truncated: true } : { answers, additionals };
  });
  const { nth, lists } = followed(t, [server], SRV);
  t.equal((await nth(1)).length, 40);
  const counts = Map.groupBy(lists[0]!, ({ priority = 0 }) => priority);
  t.same([...counts.keys()], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
  t.equal(counts.get(15)!.length, 25);
});

test("a service with the root as its target is decidedly not there", async (t) => {
  const server = await startDnsServer(t, only("SRV", { answers: [srv(SERVICE, ".", 0, { ttl: 12 })] }));
  const { nth, restMs } = followed(t, [server], SRV);
  t.same(await nth(1), []);
  t.equal(restMs(), 12_000);
});

test("a target of which nothing can be learned makes a silence, since the list would lack it", async (t) => {
  const answers = [srv(SERVICE, "one.mesh", 1), srv(SERVICE, "two.mesh", 1)];
  const known = zone(...answers, a("one.mesh", "10.0.0.1"), a("two.mesh", "10.0.0.2"));
  const server = await startDnsServer(t, known);
  const { nth, clock, restMs } = followed(t, [server], SRV);
  t.same(await nth(1), ["10.0.0.1:1", "10.0.0.2:1"]);
  server.script = (asked) => (asked.name === "two.mesh" ? SERVFAIL : known(asked));
  clock.advance(restMs());
  t.match(await nth(2), /two\.mesh A: .*SERVFAIL/);
});

test("records without a usable port are passed over, and when there are no others that is a silence", async (t) => {
  const along = { additionals: [a("one.mesh", "10.0.0.1")] };
  const some = { answers: [srv(SERVICE, "one.mesh", 0), srv(SERVICE, "one.mesh", 9)], ...along };
  t.same(await followed(t, [await startDnsServer(t, () => some)], SRV).nth(1), ["10.0.0.1:9"]);
  const none = { answers: [srv(SERVICE, "one.mesh", 0)], ...along };
  t.match(
    await followed(t, [await startDnsServer(t, () => none)], SRV).nth(1),
    /no record names a usable target/,
  );
});

test("a service of a thousand targets that are asked for one by one is listed whole", async (t) => {
  const targets = Array.from({ length: 1_000 }, (_, i) => `t${i}.mesh`);
  const addresses = new Map(targets.map((name, i) => [name, `10.2.${i >> 8}.${i & 255}`]));
  const server = await startDnsServer(t, ({ name, type, via }) => {
    if (type === "SRV")
      return via === "udp"
        ? { truncated: true }
        : { answers: targets.map((target) => srv(SERVICE, target, 80)) };
    return type === "A" ? { answers: [a(name, addresses.get(name)!)] } : {};
  });
  const list = await followed(t, [server], SRV).nth(1);
  t.equal(new Set(list).size, 1_000);
});

test("no reply, whatever its bytes, is more than a reading or a fault", async (t) => {
  const question = { name: SERVICE, type: "SRV" } as const;
  const random = seededRandom(7);
  const whole = encode({
    type: "response",
    id: 7,
    questions: [{ ...question, class: "IN" }],
    answers: [cname(SERVICE, "x.mesh"), srv("x.mesh", "one.mesh", 80), srv("x.mesh", "two.mesh", 81)],
    authorities: [soa("mesh", 5)],
    additionals: [a("one.mesh", "10.0.0.1"), aaaa("one.mesh", "fd00::1"), cname("two.mesh", "one.mesh"), OPT],
  });
  const kinds = new Set<string>();
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(
      whole.subarray(0, below(random, 4) === 0 ? below(random, whole.length) : whole.length),
    );
    // The id stays, since without it nothing else is looked at.
    for (let i = below(random, 4); i > 0 && bytes.length > 2; i--)
      bytes[2 + below(random, bytes.length - 2)] = below(random, 256);
    const reply = readReply(bytes, 7, question);
    kinds.add(reply.kind);
    if (reply.kind !== "answer") continue;
    try {
      const answer = { rcode: "NOERROR", packet: reply.packet } as const;
      const reading = readTargets(answer, SERVICE);
      kinds.add(reading.kind);
      const sent = readAdditional(answer);
      if (reading.kind === "found") for (const { name } of reading.found) sent(name);
    } catch (thrown) {
      const { name, message } = thrown as Error;
      kinds.add("fault");
      if (name !== "Error") t.fail(`${name}: ${message}`);
    }
  }
  t.same([...kinds].sort(), [
    "answer",
    "elsewhere",
    "fault",
    "foreign",
    "found",
    "malformed",
    "nothing",
    "truncated",
  ]);
});
