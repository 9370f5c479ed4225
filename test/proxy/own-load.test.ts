import { test } from "tap";
import {
  Body,
  type Handler,
  type HeaderPairs,
  type Outcome,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { answerLoad, LoadMeter, readLoad, sharedCounts } from "../../proxy/own-load/index.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const HEADER = "x-heddle-load";
const ASK = [HEADER, "ask"];

/** An app behind its sidecar, of which peers may ask; both in virtual time. */
function replica() {
  const clock = new ManualClock();
  const meter = new LoadMeter();
  let respond: Handler = async () => responseOf();
  const handle = answerLoad(meter, clock).wrap((exchange) => respond(exchange));
  const asked = async () => {
    const { headers } = await handle(exchangeOf({ method: "OPTIONS", target: "*", headers: [...ASK] }));
    return readLoad(headers[headers.indexOf(HEADER) + 1]);
  };
  return {
    clock,
    meter,
    asked,
    /** A request that takes so long and then ends so. */
    async serves(
      latencyMs: number,
      answer: () => ProxyResponse | Promise<ProxyResponse> = () => responseOf(),
      { isForwarded = true, ...settings }: ExchangeSettings & { readonly isForwarded?: boolean } = {},
    ) {
      const exchange = exchangeOf({ direction: "inbound", ...settings });
      respond = async () => {
        if (isForwarded) exchange.beginAttempt("app");
        clock.advance(latencyMs);
        return answer();
      };
      const response = await handle(exchange).catch(() => undefined);
      await settled();
      return { exchange, response };
    },
    /** As above, and its caller hangs up when so much time has passed. */
    async isLeftBy(latencyMs: number) {
      const exchange = exchangeOf({ direction: "inbound" });
      let answer = (_: ProxyResponse) => {};
      respond = () => {
        exchange.beginAttempt("app");
        return new Promise((resolve) => {
          answer = resolve;
        });
      };
      const done = handle(exchange);
      clock.advance(latencyMs);
      exchange.abort(new ProxyError("client_closed", "gone"));
      answer(responseOf(499));
      await done;
    },
  };
}

test("nothing is measured until somebody asks, and then the app's own time is", async (t) => {
  const { serves, asked, meter } = replica();
  await serves(50);
  t.notOk(meter.isAsked);
  t.same(await asked(), { inFlight: 0, latencyMs: 0 });
  await serves(50);
  t.same(await asked(), { inFlight: 0, latencyMs: 50 });
});

test("a request that the proxy answers itself says nothing of how long the app takes", async (t) => {
  const { serves, asked } = replica();
  await asked();
  for (let i = 0; i < 5; i++) await serves(50);
  for (let i = 0; i < 60; i++) {
    await serves(0, () => responseOf(400), { isForwarded: false });
    await serves(0, () => Promise.reject(new ProxyError("overflow", "full")), { isForwarded: false });
  }
  t.same(await asked(), { inFlight: 0, latencyMs: 50 });
});

test("no answer in time, and none at all, are slow answers", async (t) => {
  const { serves, asked } = replica();
  await asked();
  for (let i = 0; i < 5; i++) await serves(2, () => responseOf(503));
  t.same(await asked(), { inFlight: 0, latencyMs: 1_000 }, "who fails fast does not praise itself");
  const refusing = replica();
  await refusing.asked();
  for (let i = 0; i < 5; i++) await refusing.serves(0, () => responseOf(502), { isForwarded: false });
  t.same(await refusing.asked(), { inFlight: 0, latencyMs: 1_000 }, "nor does one that cannot be reached");
});

test("callers that hang up early do not make the app look quick, and those that waited for long make it look slow", async (t) => {
  const { serves, isLeftBy, asked } = replica();
  await asked();
  for (let i = 0; i < 5; i++) await serves(50);
  for (let i = 0; i < 60; i++) await isLeftBy(3);
  t.same(await asked(), { inFlight: 0, latencyMs: 50 });
  for (let i = 0; i < 15; i++) await isLeftBy(400);
  t.same(await asked(), { inFlight: 0, latencyMs: 400 }, "it would have been longer still");
});

test("a tunnel is no request that the app takes long for, nor one in flight", async (t) => {
  const { serves, asked } = replica();
  await asked();
  const ends: Body[] = [];
  await serves(5, () => {
    ends.push(new Body({ pause() {}, resume() {}, cancel() {} }, undefined));
    return responseOf(101, ends[0]);
  });
  t.same(await asked(), { inFlight: 0, latencyMs: 0 });
  ends[0]!.end([]);
  t.same(await asked(), { inFlight: 0, latencyMs: 0 });
});

test("an answer is in flight until its body has ended, in whatever way, and its time is that of its head", async (t) => {
  const endings: Record<Outcome, (body: Body) => void> = {
    success: (body) => body.end([]),
    failure: (body) => body.fail(new ProxyError("upstream_reset", "broken")),
    ignored: (body) => body.cancel(new ProxyError("client_closed", "gone")),
  };
  const expected: Record<Outcome, number> = { success: 7, failure: 1_000, ignored: 0 };
  for (const [outcome, end] of Object.entries(endings) as [Outcome, (body: Body) => void][]) {
    const { serves, asked, clock } = replica();
    await asked();
    const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
    await serves(7, () => responseOf(200, body));
    t.match(await asked(), { inFlight: 1 }, outcome);
    clock.advance(500);
    end(body);
    t.same(await asked(), { inFlight: 0, latencyMs: expected[outcome] }, outcome);
  }
});

test("the app's own field of this name reaches nobody, asked or not", async (t) => {
  const { serves, asked } = replica();
  const own = () => responseOf(200, undefined, ["X-Heddle-Load", "0;0", "X-App", "a"]);
  const fields = (headers: HeaderPairs | undefined) => headers?.filter((_, i) => i % 2 === 0);
  await asked();
  t.same(fields((await serves(5, own)).response?.headers), ["X-App"]);
  const { response } = await serves(5, own, { headers: [...ASK] });
  t.same(response?.headers, ["X-App", "a", HEADER, "1;5"], "which has not ended yet itself");
});

test("one who leaves says nothing of its load any more", async (t) => {
  const { serves, asked, meter } = replica();
  await asked();
  meter.isLeaving = true;
  t.equal(await asked(), undefined);
  t.same((await serves(5, undefined, { headers: [...ASK] })).response?.headers, []);
});

test("workers count together, measure as soon as one of them is asked, and one that is lost takes its count along", async (t) => {
  const counts = sharedCounts(3);
  const meters = [0, 1, 2].map((place) => new LoadMeter(counts, place));
  t.same(
    meters.map(({ isAsked }) => isAsked),
    [false, false, false],
  );
  meters[1]!.noteAsked();
  t.same(
    meters.map(({ isAsked }) => isAsked),
    [true, true, true],
  );
  for (const [place, meter] of meters.entries()) for (let i = 0; i <= place; i++) meter.arrived();
  t.same(
    meters.map((meter) => meter.answer(0).inFlight),
    [6, 6, 6],
  );
  const next = new LoadMeter(counts, 2);
  t.same(
    [...meters.slice(0, 2), next].map((meter) => meter.answer(0).inFlight),
    [3, 3, 3],
  );
  t.ok(next.isAsked, "and its successor knows that somebody asks");
});
