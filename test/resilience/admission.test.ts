import { test } from "tap";
import { Body, below, type Exchange, type Handler, ProxyError, stack } from "../../core/index.ts";
import { ConcurrencyLimit, concurrencyLimit, deadline, waitFor } from "../../resilience/index.ts";
import { Turn } from "../../resilience/turn-queue.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const GONE = new ProxyError("client_closed", "the caller closed the connection");
/** No wait in these tests lasts half of it. */
const PATIENT = 1_000_000;
const SOURCE = { pause() {}, resume() {}, cancel() {} };

/** How a promise stands after everything has run that could: a status, an error's code, or "waits". */
async function standing(answer: Promise<{ readonly status: number }>): Promise<number | string> {
  const said = answer.then(
    ({ status }) => status,
    (thrown: ProxyError) => thrown.code,
  );
  return Promise.race([said, settled().then(() => "waits")]);
}

// --- waiting

test("a wait ends once, by what it waits for, by the deadline or by an abort, and leaves nothing behind", async (t) => {
  const endings: [
    string,
    string,
    (wait: { done: () => void; clock: ManualClock; exchange: Exchange }) => void,
  ][] = [
    ["what it waits for", "done", ({ done }) => done()],
    ["the deadline", "deadline_exceeded", ({ clock }) => clock.advance(50)],
    ["an abort", "client_closed", ({ exchange }) => exchange.abort(GONE)],
  ];
  for (const [how, expected, end] of endings) {
    const clock = new ManualClock();
    const exchange = exchangeOf();
    exchange.deadlineMs = clock.now() + 50;
    let undone = 0;
    let done = () => {};
    const waiting = waitFor<string>(exchange, clock, "layer", (finish) => {
      done = () => finish("done");
      return () => undone++;
    }).catch((thrown: ProxyError) => thrown.code);
    t.same([exchange.suspendedOn, clock.pending], ["layer", 1], how);
    clock.advance(20);
    end({ done, clock, exchange });
    t.equal(await waiting, expected, how);
    done();
    clock.advance(100);
    exchange.abort(GONE);
    t.equal(undone, expected === "done" ? 0 : 1, `${how}: undone unless it ended by itself`);
    t.same([exchange.state, clock.pending], ["running", 0], how);
    t.equal(exchange.waitedMs.layer, how === "the deadline" ? 50 : 20);
  }
});

test("a request that was given up does not begin to wait", async (t) => {
  const clock = new ManualClock();
  const exchange = exchangeOf();
  exchange.deadlineMs = clock.now() + 50;
  exchange.abort(GONE);
  const waiting = waitFor(exchange, clock, "layer", () => {
    t.fail("nothing is begun");
    return () => {};
  });
  await t.rejects(waiting, GONE);
  t.equal(clock.pending, 0);
});

test("what is there at once, or refused at once, is not waited for", async (t) => {
  const clock = new ManualClock();
  const exchange = exchangeOf();
  exchange.deadlineMs = clock.now() + 50;
  const undo = () => t.fail("there is nothing to undo");
  t.equal(
    await waitFor<number>(exchange, clock, "layer", (done) => {
      done(7);
      return undo;
    }),
    7,
  );
  const full = new ProxyError("overflow", "full");
  const refused = waitFor(exchange, clock, "layer", (_, fail) => {
    fail(full);
    return undo;
  });
  await t.rejects(refused, full);
  t.same([exchange.state, clock.pending], ["running", 0]);
});

// --- the deadline

const answers: Handler = async () => responseOf();

test("a request without a body has its time from its arrival, and costs no timer", async (t) => {
  const clock = new ManualClock(5000);
  const handle = deadline(clock, { requestMs: 300 }).wrap(answers);
  for (const body of [undefined, Body.of(new Uint8Array(9))]) {
    const exchange = exchangeOf({ nowMs: 4900, ...(body === undefined ? {} : { body }) });
    t.equal((await handle(exchange)).status, 200);
    t.equal(exchange.deadlineMs, 5200);
  }
  t.equal(clock.pending, 0);
});

test("a request that is late already is not begun", async (t) => {
  const clock = new ManualClock(5000);
  const handle = deadline(clock, { requestMs: 300 }).wrap(async () => {
    t.fail("it must not get here");
    return responseOf();
  });
  await t.rejects(handle(exchangeOf({ nowMs: 4700 })), { code: "deadline_exceeded" });
});

test("a request whose body is still arriving has its time from the body's end", async (t) => {
  const clock = new ManualClock(5000);
  const handle = deadline(clock, { requestMs: 300 }).wrap(answers);
  const body = new Body(SOURCE, undefined);
  const exchange = exchangeOf({ nowMs: 5000, body });
  t.equal((await handle(exchange)).status, 200);
  t.equal(exchange.deadlineMs, Number.POSITIVE_INFINITY, "an upload takes as long as the caller needs");
  let heardAtTheEnd = 0;
  body.pipe({
    write: () => true,
    end: () => {
      heardAtTheEnd = exchange.deadlineMs;
    },
    fail() {},
  });
  clock.advance(60_000);
  body.end();
  t.equal(exchange.deadlineMs, 65_300);
  t.equal(heardAtTheEnd, 65_300, "it stands when the consumer hears of the end");
});

test("a wait that began while the body was arriving ends at the deadline, too", async (t) => {
  const clock = new ManualClock();
  const limit = new ConcurrencyLimit({ requests: 1, pending: 1, queueMs: PATIENT }, seededRandom(1));
  const handle = stack([deadline(clock, { requestMs: 300 }), concurrencyLimit(clock, limit)], answers);
  limit.tryAcquire(0);
  const body = new Body(SOURCE, undefined);
  const answer = handle(exchangeOf({ nowMs: clock.now(), body }));
  clock.advance(200);
  body.end();
  clock.advance(299);
  t.equal(await standing(answer), "waits", "from the end of the body it has the whole time");
  clock.advance(1);
  t.equal(await standing(answer), "deadline_exceeded");
  t.same([limit.waiting, clock.pending], [0, 0]);
});

test("a request whose body is held back by the wait itself does not wait for ever", async (t) => {
  const clock = new ManualClock();
  const limit = new ConcurrencyLimit({ requests: 1, pending: 1, queueMs: PATIENT }, seededRandom(1));
  const handle = stack([deadline(clock, { requestMs: 300 }), concurrencyLimit(clock, limit)], answers);
  limit.tryAcquire(0);
  const answer = handle(exchangeOf({ nowMs: clock.now(), body: new Body(SOURCE, undefined) }));
  clock.advance(299);
  t.equal(await standing(answer), "waits");
  clock.advance(1);
  t.equal(await standing(answer), "deadline_exceeded");
  t.same([limit.waiting, clock.pending], [0, 0]);
});

// --- so many at a time

const turn = (granted: () => void) => new Turn(1, granted, () => {});

test("permits are given while there are some, then turns in the order of arrival, then nothing", async (t) => {
  const limit = new ConcurrencyLimit({ requests: 2, pending: 3, queueMs: PATIENT }, seededRandom(1));
  t.same([limit.tryAcquire(0), limit.tryAcquire(0), limit.tryAcquire(0)], [true, true, false]);
  const granted: string[] = [];
  const turns = ["first", "second", "third", "fourth"].map((name) => turn(() => granted.push(name)));
  t.same(
    turns.map((one) => limit.tryQueue(one, 0)),
    [true, true, true, false],
  );
  t.equal(limit.waiting, 3);
  limit.release(0);
  t.same(granted, ["first"]);
  limit.leave(turns[1]!);
  limit.leave(turns[1]!);
  limit.release(0);
  t.same(granted, ["first", "third"], "who has left is passed over");
  t.same([limit.held, limit.waiting], [2, 0], "a permit that is handed on was never free");
  limit.release(0);
  limit.release(0);
  t.equal(limit.held, 0);
  t.equal(limit.tryAcquire(0), true);
});

test("without a queue a full limit refuses at once", async (t) => {
  const limit = new ConcurrencyLimit({ requests: 1, pending: 0, queueMs: PATIENT }, seededRandom(1));
  t.equal(limit.tryAcquire(0), true);
  t.equal(
    limit.tryQueue(
      turn(() => {}),
      0,
    ),
    false,
  );
});

/** A limit over an endpoint that answers when it is told; every exchange is settled by the test. */
function limited(requests: number, pending: number) {
  const clock = new ManualClock();
  const limit = new ConcurrencyLimit({ requests, pending, queueMs: PATIENT }, seededRandom(1));
  const entered: Exchange[] = [];
  const handle = concurrencyLimit(clock, limit).wrap(async (exchange) => {
    entered.push(exchange);
    return responseOf();
  });
  return { clock, limit, entered, handle };
}

test("a permit is held until the answer has been handed over, not until its head has come", async (t) => {
  const { clock, limit, entered, handle } = limited(1, 1);
  const first = exchangeOf();
  const second = exchangeOf();
  t.equal((await handle(first)).status, 200);
  const answer = handle(second);
  t.equal(await standing(answer), "waits");
  t.same([second.suspendedOn, limit.held, limit.waiting], ["queue", 1, 1]);
  clock.advance(30);
  first.settle("success", clock.now());
  t.equal((await answer).status, 200);
  t.same(entered, [first, second]);
  t.equal(second.waitedMs.queue, 30);
  second.settle("failure", clock.now());
  second.settle("failure", clock.now());
  t.equal(limit.held, 0, "given back once, however it ended");
});

test("what does not fit is refused before any work is done", async (t) => {
  const { limit, entered, handle } = limited(1, 1);
  await handle(exchangeOf());
  const queued = handle(exchangeOf());
  const refused = exchangeOf();
  await t.rejects(handle(refused), { code: "overflow" });
  refused.settle("failure", 0);
  t.equal(await standing(queued), "waits");
  t.same([limit.held, limit.waiting, entered.length], [1, 1, 1]);
});

test("a caller that goes away while it waits leaves the queue, and costs no permit", async (t) => {
  const { limit, entered, handle } = limited(1, 2);
  const first = exchangeOf();
  await handle(first);
  const leaver = exchangeOf();
  const left = handle(leaver);
  const next = exchangeOf();
  const answer = handle(next);
  leaver.abort(GONE);
  await t.rejects(left, GONE);
  leaver.settle("ignored", 0);
  t.same([limit.held, limit.waiting], [1, 1]);
  first.settle("success", 0);
  t.equal((await answer).status, 200);
  next.settle("success", 0);
  t.equal(limit.held, 0);
  t.notOk(entered.includes(leaver));
});

test("a caller that goes away in the moment in which its turn comes gives the permit back", async (t) => {
  const { limit, handle } = limited(1, 1);
  const first = exchangeOf();
  await handle(first);
  const second = exchangeOf();
  const answer = handle(second);
  first.settle("success", 0);
  second.abort(GONE);
  second.settle("ignored", 0);
  await answer;
  t.same([limit.held, limit.waiting], [0, 0]);
});

test("the deadline ends the wait for a turn", async (t) => {
  const { clock, limit, handle } = limited(1, 1);
  await handle(exchangeOf());
  const second = exchangeOf();
  second.deadlineMs = clock.now() + 100;
  const answer = handle(second);
  clock.advance(100);
  await t.rejects(answer, { code: "deadline_exceeded" });
  t.same([limit.waiting, clock.pending], [0, 0]);
});

test("however requests come, go away and end, permits are never exceeded, never lost, and go round in order", async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const requests = 1 + below(random, 4);
    const { clock, limit, entered, handle } = limited(requests, 1 + below(random, 6));
    const begun: Exchange[] = [];
    const alive = new Set<Exchange>();
    // With every other seed several things happen before any promise has run.
    const calm = seed % 2 === 0;
    const runningNow = () => entered.filter((exchange) => alive.has(exchange));
    for (let step = 0; step < 400; step++) {
      const what = random.next();
      const any = [...alive][below(random, Math.max(1, alive.size))];
      if (what < 0.5 || any === undefined) {
        const exchange = exchangeOf();
        if (random.next() < 0.3) exchange.deadlineMs = clock.now() + below(random, 50);
        begun.push(exchange);
        alive.add(exchange);
        handle(exchange).catch(() => {
          exchange.settle("failure", clock.now());
          alive.delete(exchange);
        });
      } else if (what < 0.65) {
        any.abort(GONE);
        any.settle("ignored", clock.now());
        alive.delete(any);
      } else if (what < 0.85) {
        const [running] = runningNow();
        running?.settle("success", clock.now());
        if (running !== undefined) alive.delete(running);
      } else {
        clock.advance(below(random, 30));
      }
      if (calm || random.next() < 0.7) await settled();
      const running = runningNow().length;
      if (limit.held > requests || running > limit.held)
        t.fail(`seed ${seed}, step ${step}: ${running} run, ${limit.held} of ${requests} permits are out`);
    }
    for (const exchange of alive) exchange.settle("ignored", clock.now());
    await settled();
    t.same([limit.held, limit.waiting, clock.pending], [0, 0, 0], `seed ${seed}: everything has come back`);
    const places = entered.map((exchange) => begun.indexOf(exchange));
    if (calm)
      t.same(
        places,
        places.toSorted((a, b) => a - b),
        `seed ${seed}: first come, first served`,
      );
  }
});
