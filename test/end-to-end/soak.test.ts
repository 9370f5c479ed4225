import { test } from "tap";
import type { Seen } from "../../bench/soak/caller.ts";
import { soak } from "../../bench/soak/course.ts";
import { bytesPerRequest, moreThan } from "../../bench/soak/gauges.ts";
import { Ledger } from "../../bench/soak/ledger.ts";
import { complaints } from "../../bench/soak/report.ts";
import { type AccessLine, RULE_NAMES, ruleOf } from "../../bench/soak/rules.ts";
import { exactRows } from "../../bench/soak/verdict.ts";

const LINE: AccessLine = {
  requestId: "soak-0",
  direction: "outbound",
  method: "GET",
  status: 200,
  upstream: "shop",
  attempts: 1,
  responseBytes: 10,
};
const SEEN: Seen = { status: 200, code: "", ended: "whole", bytes: 10, sent: true, fault: "" };

test("under load and trouble every request is answered, logged and counted once, and everything taken is given back", async (t) => {
  const found = await soak(t, {
    seed: 1,
    warmUpSeconds: 4,
    seconds: 10,
    rate: 150,
    troubleEveryMs: 1_000,
    // What is never given back ends the test by its time.
    mostQuietMs: Number.POSITIVE_INFINITY,
    say: (line) => t.comment(line),
  });
  t.ok(found.ledger.sent > 1_000, `${found.ledger.sent} requests`);
  t.ok(found.happened.size > 5, [...found.happened.keys()].join(", "));
  for (const { what, measured, holds } of exactRows(found)) t.ok(holds, `${what}: ${measured}`);
  for (const complaint of complaints(found)) t.comment(complaint);
});

test("each way in which an answer can end has one rule that explains it", async (t) => {
  const gone: Seen = { ...SEEN, status: 0, bytes: 0, ended: "left" };
  const closed: AccessLine = { ...LINE, status: 499, cause: "client_closed", responseBytes: 0 };
  const refused: AccessLine = { ...LINE, status: 503, cause: "fault_injected" };
  const explained = [
    ruleOf(SEEN, LINE),
    ruleOf({ ...SEEN, ended: "broken", bytes: 5 }, { ...LINE, cause: "upstream_reset" }),
    ruleOf({ ...SEEN, status: 101 }, { ...LINE, status: 101, cause: "upstream_reset" }),
    ruleOf({ ...SEEN, status: 0, bytes: 0, ended: "nothing" }, refused),
    ruleOf(gone, closed),
    ruleOf({ ...SEEN, ended: "left", bytes: 5 }, { ...LINE, cause: "client_closed" }),
    ruleOf(gone, LINE),
    ruleOf({ ...gone, sent: false }, undefined),
  ];
  t.same(explained, RULE_NAMES);
});

test("what the log and a caller say differently is explained by no rule", async (t) => {
  const faults: readonly (readonly [string, Seen, AccessLine | undefined])[] = [
    ["another status", SEEN, { ...LINE, status: 201 }],
    ["another size", SEEN, { ...LINE, responseBytes: 11 }],
    ["a cause that the caller was not told", SEEN, { ...LINE, cause: "upstream_reset" }],
    ["a code that the log does not have", { ...SEEN, code: "overflow" }, LINE],
    ["no line for an answer", SEEN, undefined],
    ["no line for a request that was sent and given up", { ...SEEN, status: 0, ended: "left" }, undefined],
    ["broken, and logged as a success", { ...SEEN, ended: "broken" }, LINE],
    ["broken, and blamed on its caller", { ...SEEN, ended: "broken" }, { ...LINE, cause: "client_closed" }],
    [
      "given up before an answer, without the cause",
      { ...SEEN, status: 0, bytes: 0, ended: "left" },
      { ...LINE, status: 499 },
    ],
    ["a caller that waits, and gets nothing", { ...SEEN, status: 0, ended: "nothing" }, LINE],
    [
      "given up in the answer, and logged with another status than its head had",
      { ...SEEN, status: 404, ended: "left" },
      LINE,
    ],
  ];
  for (const [what, seen, line] of faults) t.equal(ruleOf(seen, line), undefined, what);
});

test("the ledger finds a line too many, a line that is missing and a count that differs", async (t) => {
  const ledger = new Ledger();
  const [once, twice, never] = [ledger.begin("get"), ledger.begin("get"), ledger.begin("get")];
  for (const id of [once, twice, never]) ledger.saw(id, SEEN);
  for (const requestId of [once, twice, twice]) ledger.logged({ ...LINE, requestId });
  t.equal(ledger.faultCount, 1);
  t.match(ledger.faults[0], `${twice}: a line of the log too many`);
  t.equal(ledger.awaited, 1);
  ledger.close();
  t.match(ledger.faults[1], `${never} (get): seen`);
  const labels = { direction: "outbound", upstream: "shop", route: "", status: "200", cause: "" };
  const attempts = [{ labels: { upstream: "shop", outcome: "success" }, value: 3 }];
  t.same(ledger.differences([{ labels, value: 3 }], attempts), []);
  t.same(ledger.differences([{ labels, value: 4 }], []), [
    "heddle_requests_total outbound shop  200 : 4 counted, 3 in the log",
    "heddle_attempts_total shop: 0 counted, 3 in the log",
  ]);
});

test("what is held besides what was held before is told, and a leak of memory has its slope", async (t) => {
  t.same(moreThan({ sockets: 1, timers: 5 }, { sockets: 2, timers: 4, permits: 1 }), [
    "sockets: 2, before 1",
    "permits: 1, before 0",
  ]);
  const samples = Array.from({ length: 30 }, (_, n) => ({
    held: {},
    sent: n * 1_000,
    // 40 bytes for each request; every fifth sample is in the middle of a burst.
    residentBytes: 1e8 + n * 40_000 + (n % 5 === 0 ? 2e7 : 0),
  }));
  t.equal(Math.round(bytesPerRequest(samples)), 40);
});
