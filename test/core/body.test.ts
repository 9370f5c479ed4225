import { test } from "tap";
import { Body, type BodySink, type BodySource, below, type Outcome } from "../../core/index.ts";
import { settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const KIB_64 = 64 * 1024;

/** A producer that notes what it is asked. */
class Producer implements BodySource {
  readonly asked: string[] = [];
  paused = false;

  pause(): void {
    this.asked.push("pause");
    this.paused = true;
  }

  resume(): void {
    this.asked.push("resume");
    this.paused = false;
  }

  cancel(reason: Error): void {
    this.asked.push(`cancel: ${reason.message}`);
  }
}

/** A consumer that has room for so many chunks, and notes what it hears. */
class Consumer implements BodySink {
  readonly heard: string[] = [];
  room: number;

  constructor(room = Number.POSITIVE_INFINITY) {
    this.room = room;
  }

  /** What it has got, as one text. */
  get text(): string {
    return this.heard.join("");
  }

  write(chunk: Uint8Array): boolean {
    this.heard.push(Buffer.from(chunk).toString());
    this.room--;
    return this.room > 0;
  }

  end(trailers: readonly string[]): void {
    this.heard.push(trailers.length === 0 ? "<end>" : `<end ${trailers.join(" ")}>`);
  }

  fail(cause: Error): void {
    this.heard.push(`<fail ${cause.message}>`);
  }
}

function bodyOf(length?: number): { body: Body; producer: Producer } {
  const producer = new Producer();
  return { body: new Body(producer, length), producer };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

function pushAll(body: Body, ...texts: string[]): void {
  for (const text of texts) body.push(bytes(text));
}

// --- from the producer to the consumer

test("chunks pass straight to the consumer, in order, and the end comes with its trailers", async (t) => {
  const { body, producer } = bodyOf();
  const consumer = new Consumer();
  body.pipe(consumer);
  pushAll(body, "a");
  t.same(consumer.heard, ["a"], "nothing waits while the consumer takes");
  pushAll(body, "b");
  body.end(["Checksum", "42"]);
  t.same(consumer.heard, ["a", "b", "<end Checksum 42>"]);
  t.same(body.trailers, ["Checksum", "42"]);
  t.equal(body.pushedBytes, 2);
  t.equal(body.complete, true);
  t.equal(body.failed, false);
  t.same(producer.asked, []);
});

test("what comes before the consumer waits for it, the end and a failure as well", async (t) => {
  const whole = bodyOf();
  pushAll(whole.body, "a", "b");
  whole.body.end();
  const first = new Consumer();
  whole.body.pipe(first);
  t.same(first.heard, ["a", "b", "<end>"]);

  const broken = bodyOf();
  pushAll(broken.body, "a", "b");
  broken.body.fail(new Error("lost"));
  const second = new Consumer(1);
  broken.body.pipe(second);
  t.same(second.heard, ["a"], "a failure does not overtake what came before it");
  second.room = 9;
  broken.body.resume();
  t.same(second.heard, ["a", "b", "<fail lost>"]);
});

test("a chunk that is pushed while others are handed over does not overtake them", async (t) => {
  const { body } = bodyOf();
  pushAll(body, "a", "b", "c");
  const heard: string[] = [];
  body.pipe({
    write(chunk) {
      if (heard.push(Buffer.from(chunk).toString()) === 1) pushAll(body, "d");
      return true;
    },
    end: () => heard.push("<end>"),
    fail() {},
  });
  body.end();
  t.same(heard, ["a", "b", "c", "d", "<end>"]);
});

test("the end is told once, and nothing after it", async (t) => {
  const { body } = bodyOf();
  const consumer = new Consumer();
  body.pipe(consumer);
  body.end();
  body.end(["Late", "1"]);
  body.fail(new Error("late"));
  pushAll(body, "late");
  body.resume();
  t.same(consumer.heard, ["<end>"]);
  t.same(body.trailers, []);
  t.equal(body.pushedBytes, 0);
});

test("complete and empty bodies are there at once", async (t) => {
  const consumer = new Consumer();
  Body.of(bytes("hello")).pipe(consumer);
  t.same(consumer.heard, ["hello", "<end>"]);
  t.equal(Body.of(bytes("hello")).length, 5);
  for (const body of [Body.empty(), Body.of(bytes(""))]) {
    const nothing = new Consumer();
    body.pipe(nothing);
    t.same(nothing.heard, ["<end>"]);
    t.equal(body.length, 0);
    t.equal(body.complete, true);
  }
  const all = Body.of(bytes("hello"));
  t.same(Buffer.concat(all.takeAll()).toString(), "hello");
  t.same(all.takeAll(), [], "taken is taken");
});

// --- the slower sets the pace

test("a full consumer pauses the producer once, and takes the rest when it has room", async (t) => {
  const { body, producer } = bodyOf();
  const consumer = new Consumer(1);
  body.pipe(consumer);
  pushAll(body, "a");
  t.same(producer.asked, ["pause"]);
  pushAll(body, "b", "c");
  t.same(consumer.heard, ["a"], "a full consumer is left alone");
  t.same(producer.asked, ["pause"]);
  consumer.room = 1;
  body.resume();
  t.same(consumer.heard, ["a", "b"]);
  t.same(producer.asked, ["pause"], "the producer rests while the consumer is full");
  consumer.room = 5;
  body.resume();
  t.same(consumer.heard, ["a", "b", "c"]);
  t.same(producer.asked, ["pause", "resume"]);
});

test("a producer is paused when more than 64 KiB wait for a consumer, and no sooner", async (t) => {
  const { body, producer } = bodyOf();
  body.push(new Uint8Array(KIB_64));
  t.same(producer.asked, []);
  body.push(new Uint8Array(1));
  body.push(new Uint8Array(1));
  t.same(producer.asked, ["pause"]);
  body.pipe(new Consumer());
  t.same(producer.asked, ["pause", "resume"]);
});

test("a producer goes on only when the queue is short again", async (t) => {
  const { body, producer } = bodyOf();
  for (let i = 0; i < 4; i++) body.push(new Uint8Array(KIB_64));
  const consumer = new Consumer(1);
  body.pipe(consumer);
  consumer.room = 1;
  body.resume();
  t.same(producer.asked, ["pause"], "128 KiB are left and the consumer is full");
  consumer.room = 9;
  body.resume();
  t.same(producer.asked, ["pause", "resume"]);
});

test("a producer whose consumer has left is paused when the queue is full, not at once", async (t) => {
  const { body, producer } = bodyOf();
  const consumer = new Consumer();
  body.pipe(consumer);
  body.unpipe();
  body.push(new Uint8Array(KIB_64));
  t.same([consumer.heard, producer.asked], [[], []]);
  body.push(new Uint8Array(1));
  t.same(producer.asked, ["pause"]);

  const half = bodyOf();
  half.body.push(new Uint8Array(KIB_64 / 2));
  half.body.push(new Uint8Array(KIB_64 / 2));
  half.body.pipe(new Consumer(1));
  half.body.unpipe();
  half.body.push(new Uint8Array(KIB_64 / 2));
  t.same(half.producer.asked, [], "what it has taken is not counted any more");
});

test("a producer that has ended the body is not left paused: its connection serves others now", async (t) => {
  const { body, producer } = bodyOf();
  const slow = new Consumer(1);
  body.pipe(slow);
  pushAll(body, "a", "b");
  t.equal(producer.paused, true);
  body.end();
  t.equal(producer.paused, false, "it goes on as soon as it has nothing more for this body");
  const askedByThen = producer.asked.length;
  slow.room = 9;
  body.resume();
  t.same(slow.heard, ["a", "b", "<end>"]);
  t.equal(producer.asked.length, askedByThen, "a consumer that is late cannot reach into the next message");

  const abandoned = bodyOf();
  abandoned.body.push(new Uint8Array(KIB_64 + 1));
  abandoned.body.end();
  abandoned.body.cancel(new Error("gone"));
  t.equal(abandoned.producer.paused, false, "also when nobody ever takes the rest");
});

test("whatever the pace on both sides, everything arrives once and in order, and the queue stays bounded", async (t) => {
  const random = seededRandom(7);
  for (let walk = 0; walk < 300; walk++) {
    const { body, producer } = bodyOf();
    const total = 1 + below(random, 400_000);
    let sent = 0;
    let got = 0;
    let outOfOrder = 0;
    let full = false;
    let ended = false;
    body.pipe({
      write(chunk) {
        if (full) outOfOrder++;
        // Every chunk begins with its own place.
        if (new DataView(chunk.buffer, chunk.byteOffset).getUint32(0) !== got) outOfOrder++;
        got += chunk.length;
        full = random.next() < 0.3;
        return !full;
      },
      end: () => {
        ended = true;
      },
      fail: () => {},
    });
    let most = 0;
    while (!ended) {
      if (!producer.paused && sent < total && random.next() < 0.6) {
        const chunk = new Uint8Array(4 + below(random, 16_000));
        new DataView(chunk.buffer).setUint32(0, sent);
        sent += chunk.length;
        body.push(chunk);
        if (sent >= total) body.end();
      } else if (full) {
        full = false;
        body.resume();
      }
      most = Math.max(most, sent - got);
    }
    if (outOfOrder > 0 || got !== sent || most > KIB_64 + 16_004)
      t.fail(`walk ${walk}: ${got} of ${sent} bytes, ${outOfOrder} out of order, ${most} queued`);
  }
});

// --- how it ends

test("the consumer's loss of interest is told to the producer once", async (t) => {
  const { body, producer } = bodyOf();
  const consumer = new Consumer();
  body.pipe(consumer);
  pushAll(body, "a");
  body.cancel(new Error("enough"));
  body.cancel(new Error("really"));
  pushAll(body, "b");
  body.end();
  t.same(producer.asked, ["cancel: enough"]);
  t.same(consumer.heard, ["a"], "nothing more is delivered");
  t.equal(body.failed, true);
  t.equal(body.complete, false);
});

test("a producer that has finished is not told that nobody listens any more", async (t) => {
  const ended = bodyOf();
  ended.body.end();
  ended.body.cancel(new Error("enough"));
  t.same(ended.producer.asked, []);
  t.equal(ended.body.complete, true);
  const failed = bodyOf();
  failed.body.fail(new Error("lost"));
  failed.body.cancel(new Error("enough"));
  t.same(failed.producer.asked, []);
});

test("everybody who asks is told once how it closed, also when asked late, and before the consumer hears it", async (t) => {
  const endings: [string, Outcome, (body: Body) => void][] = [
    ["the producer ended it", "success", (body) => body.end()],
    ["the producer broke", "failure", (body) => body.fail(new Error("lost"))],
    ["the consumer lost interest", "ignored", (body) => body.cancel(new Error("enough"))],
  ];
  for (const [how, outcome, close] of endings) {
    const { body } = bodyOf();
    const told: string[] = [];
    body.onClosed((as) => told.push(`first ${as}`));
    body.onClosed((as) => told.push(`second ${as}`));
    body.pipe({ write: () => true, end: () => told.push("end"), fail: () => told.push("fail") });
    close(body);
    body.end();
    body.fail(new Error("again"));
    body.cancel(new Error("again"));
    body.onClosed((as) => told.push(`late ${as}`));
    t.same(
      told.filter((word) => word.includes(" ")),
      [`first ${outcome}`, `second ${outcome}`, `late ${outcome}`],
      how,
    );
    t.match(told[0], "first", how);
  }
});

test("it has closed when the producer has ended it, even if the consumer is still to take the rest", async (t) => {
  const { body } = bodyOf();
  const told: Outcome[] = [];
  body.onClosed((as) => told.push(as));
  pushAll(body, "a");
  body.end();
  t.same(told, ["success"]);
});

// --- being sent again

test("a remembered body is given out whole again, also after it was sent in part, and more than once", async (t) => {
  const { body } = bodyOf();
  body.remember(100);
  pushAll(body, "one ", "two ");
  const first = new Consumer(1);
  body.pipe(first);
  t.same(first.heard, ["one "]);
  body.rewind();
  pushAll(body, "three ");
  const second = new Consumer();
  body.pipe(second);
  t.same(second.text, "one two three ");
  pushAll(body, "four");
  body.end();
  t.same(second.text, "one two three four<end>");
  body.rewind();
  const third = new Consumer();
  body.pipe(third);
  t.same(third.text, "one two three four<end>");
  body.rewind();
  t.equal(Buffer.concat(body.takeAll()).toString(), "one two three four");
  body.rewind();
  const last = new Consumer();
  body.pipe(last);
  t.same(last.text, "one two three four<end>", "what was taken as one list is remembered, too");
});

test("what is put back by a rewind counts against the 64 KiB that may wait", async (t) => {
  const { body, producer } = bodyOf();
  body.remember(KIB_64);
  body.pipe(new Consumer());
  body.push(new Uint8Array(60 * 1024));
  body.rewind();
  body.push(new Uint8Array(4 * 1024));
  t.same(producer.asked, []);
  body.push(new Uint8Array(1));
  t.same(producer.asked, ["pause"]);
});

test("a body is rewindable up to exactly what may be remembered, and is delivered whole beyond it", async (t) => {
  const { body } = bodyOf();
  body.remember(8);
  const consumer = new Consumer();
  body.pipe(consumer);
  pushAll(body, "1234", "5678");
  t.equal(body.rewindable, true);
  pushAll(body, "9");
  t.equal(body.rewindable, false);
  t.throws(() => body.rewind(), /beyond what is remembered/);
  body.end();
  t.same(consumer.text, "123456789<end>");
  const list = Body.of(bytes("123456789"));
  list.remember(8);
  t.equal(list.rewindable, true, "nobody has touched it");
  list.takeAll();
  t.equal(list.rewindable, false);
});

test("an untouched body needs no memory to be sent again, a touched one does", async (t) => {
  const { body } = bodyOf();
  pushAll(body, "a");
  t.equal(body.rewindable, true);
  body.rewind();
  const consumer = new Consumer();
  body.pipe(consumer);
  t.same(consumer.text, "a");
  t.equal(body.rewindable, false);
});

test("what was consumed before it was asked to remember cannot be rewound", async (t) => {
  const { body } = bodyOf();
  body.pipe(new Consumer());
  pushAll(body, "lost");
  body.unpipe();
  body.remember(100);
  pushAll(body, " kept");
  t.equal(body.rewindable, false);
});

test("a body that is broken or cancelled cannot be sent again", async (t) => {
  const failed = bodyOf();
  failed.body.remember(100);
  failed.body.fail(new Error("lost"));
  t.equal(failed.body.rewindable, false);
  t.throws(() => failed.body.rewind());
  const cancelled = bodyOf();
  cancelled.body.remember(100);
  pushAll(cancelled.body, "a");
  cancelled.body.cancel(new Error("enough"));
  t.equal(cancelled.body.rewindable, false);
});

test("a body that is sent again and again while it arrives is whole each time", async (t) => {
  const random = seededRandom(11);
  for (let walk = 0; walk < 300; walk++) {
    const { body } = bodyOf();
    body.remember(Number.POSITIVE_INFINITY);
    let sent = "";
    let consumer = new Consumer(below(random, 4));
    body.pipe(consumer);
    for (let step = 0; step < 40; step++) {
      const what = random.next();
      if (what < 0.5) {
        const text = `${step},`;
        sent += text;
        pushAll(body, text);
      } else if (what < 0.8) {
        consumer.room = 1 + below(random, 4);
        body.resume();
      } else {
        body.rewind();
        consumer = new Consumer(1 + below(random, 4));
        body.pipe(consumer);
      }
      if (!sent.startsWith(consumer.text)) t.fail(`walk ${walk}: ${consumer.text} of ${sent}`);
    }
    body.end();
    body.rewind();
    consumer = new Consumer();
    body.pipe(consumer);
    if (consumer.text !== `${sent}<end>`) t.fail(`walk ${walk}: ${consumer.text} instead of ${sent}`);
  }
});

// --- read by a layer

async function read(body: Body): Promise<string> {
  let text = "";
  for await (const chunk of body) text += Buffer.from(chunk).toString();
  return text;
}

test("a layer reads a body chunk by chunk, as it comes, and the producer rests while it thinks", async (t) => {
  const { body, producer } = bodyOf();
  const reading = read(body);
  pushAll(body, "a");
  t.same(producer.asked, ["pause"], "one chunk is in its hands");
  await settled();
  t.same(producer.asked, ["pause", "resume"], "it wants the next");
  pushAll(body, "b", "c");
  await settled();
  body.end();
  t.equal(await reading, "abc");
  t.equal(await read(Body.of(bytes("whole"))), "whole");
  t.equal(await read(Body.empty()), "");
});

test("a layer that reads a body gets all that came before the failure, and then the failure", async (t) => {
  const { body } = bodyOf();
  let text = "";
  const reading = (async () => {
    for await (const chunk of body) text += Buffer.from(chunk).toString();
  })();
  pushAll(body, "a", "b");
  body.fail(new Error("lost"));
  await t.rejects(reading, { message: "lost" });
  t.equal(text, "ab");
});

test("a layer that stops reading early cancels the body", async (t) => {
  const { body, producer } = bodyOf();
  const told: Outcome[] = [];
  body.onClosed((as) => told.push(as));
  pushAll(body, "a", "b");
  for await (const chunk of body) {
    t.equal(Buffer.from(chunk).toString(), "a");
    break;
  }
  t.same(told, ["ignored"]);
  t.same(producer.asked, ["cancel: the reader stopped before the end"]);

  const whole = Body.of(bytes("a"));
  for await (const _ of whole) break;
  t.equal(whole.complete, true, "one that is complete has no producer to tell");
});

test("reading a body that was cancelled fails with the reason instead of waiting for ever", async (t) => {
  const before = bodyOf();
  before.body.cancel(new Error("enough"));
  const meanwhile = bodyOf();
  const reading = read(meanwhile.body);
  await settled();
  meanwhile.body.cancel(new Error("enough"));
  for (const [when, promise] of [
    ["before", read(before.body)],
    ["meanwhile", reading],
  ] as const) {
    const said = promise.then(
      () => "ended",
      (thrown: Error) => thrown.message,
    );
    const waited = settled().then(() => "still waits");
    t.equal(await Promise.race([said, waited]), "enough", when);
  }
});
