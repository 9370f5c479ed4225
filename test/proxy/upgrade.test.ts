import fc from "fast-check";
import { test } from "tap";
import { type Exchange, ProxyError } from "../../core/index.ts";
import { openTunnel } from "../../proxy/upgrade/index.ts";
import { WebSocketGoodbye } from "../../proxy/upgrade/websocket-goodbye.ts";
import { exchangeOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const SEED = 20261121;
const CLOSE_GOING_AWAY = Buffer.of(0x88, 0x02, 0x03, 0xe9);

interface Frame {
  readonly payloadBytes: number;
  readonly masked?: boolean;
  /** How many bytes say the length, where not as few as can. */
  readonly lengthBytes?: 2 | 8;
  /** FIN, reserved bits and opcode. */
  readonly first?: number;
}

const random = seededRandom(SEED);
/** Payloads are full of bytes that look like heads. */
const NOISE = Buffer.from(Array.from({ length: 300_000 }, () => Math.floor(random.next() * 256)));

function encode({ payloadBytes, masked = false, lengthBytes, first = 0x82 }: Frame): Buffer {
  const wanted = lengthBytes ?? (payloadBytes > 0xffff ? 8 : payloadBytes > 125 ? 2 : 0);
  const length = Buffer.alloc(wanted);
  if (wanted === 2) length.writeUInt16BE(payloadBytes);
  if (wanted === 8) length.writeBigUInt64BE(BigInt(payloadBytes));
  const short = wanted === 8 ? 127 : wanted === 2 ? 126 : payloadBytes;
  const head = Buffer.of(first, short | (masked ? 0x80 : 0));
  return Buffer.concat([head, length, NOISE.subarray(0, masked ? 4 : 0), NOISE.subarray(0, payloadBytes)]);
}

/** The wire, and the offsets at which a goodbye may be said: before the first frame and after each, up to a Close. */
function wireOf(frames: readonly Frame[]): { bytes: Buffer; ends: readonly number[] } {
  const ends = [0];
  let length = 0;
  let over = false;
  const bytes = frames.map((frame) => {
    const encoded = encode(frame);
    length += encoded.length;
    over ||= (encoded[0]! & 0x0f) === 8;
    if (!over) ends.push(length);
    return encoded;
  });
  return { bytes: Buffer.concat(bytes), ends };
}

/** What the client gets of `bytes` in these pieces when leave() is called as soon as `leaveAt` of them have passed. */
function received(bytes: Buffer, cuts: readonly number[], leaveAt: number): Buffer {
  const goodbye = new WebSocketGoodbye();
  const got: Uint8Array[] = [];
  const offsets = [0, ...cuts.filter((cut) => cut < leaveAt), leaveAt];
  const after = [leaveAt, ...cuts.filter((cut) => cut > leaveAt), bytes.length];
  for (let i = 1; i < offsets.length; i++) got.push(goodbye.pass(bytes.subarray(offsets[i - 1], offsets[i])));
  got.push(goodbye.leave());
  for (let i = 1; i < after.length; i++) got.push(goodbye.pass(bytes.subarray(after[i - 1], after[i])));
  got.push(goodbye.leave());
  return Buffer.concat(got);
}

/** What it should get: whole frames, and then the Close; or all there is, when there is no such moment any more. */
function expected(bytes: Buffer, ends: readonly number[], leaveAt: number): Buffer {
  const end = ends.find((at) => at >= leaveAt);
  return end === undefined ? bytes : Buffer.concat([bytes.subarray(0, end), CLOSE_GOING_AWAY]);
}

const SHORT: readonly Frame[] = [
  { payloadBytes: 0 },
  { payloadBytes: 125 },
  { payloadBytes: 126 },
  { payloadBytes: 0, masked: true },
  { payloadBytes: 3, lengthBytes: 8, first: 0x01 },
  { payloadBytes: 125, masked: true, first: 0x00 },
  { payloadBytes: 0, lengthBytes: 8 },
  { payloadBytes: 127, masked: true, first: 0xc1 },
  { payloadBytes: 0, lengthBytes: 2, masked: true, first: 0x89 },
  { payloadBytes: 1, first: 0x80 },
];

test("at whatever byte the goodbye is asked for, the client gets whole frames and then exactly one Close 1001", (t) => {
  const { bytes, ends } = wireOf(SHORT);
  const everywhere = Array.from(bytes, (_, offset) => offset);
  for (let leaveAt = 0; leaveAt <= bytes.length; leaveAt++) {
    const wanted = expected(bytes, ends, leaveAt);
    for (const cuts of [[], everywhere, [...ends], everywhere.filter((at) => at % 7 === 0)])
      if (!received(bytes, cuts, leaveAt).equals(wanted))
        t.fail(`asked for at ${leaveAt}, ${cuts.length} cuts`);
  }
  t.end();
});

test("a server that has said its own Close, or is saying it, is not interrupted", (t) => {
  const own = Buffer.concat([encode({ payloadBytes: 3 }), encode({ payloadBytes: 20, first: 0x88 })]);
  for (const leaveAt of [6, 7, 20, own.length])
    t.same(
      received(
        own,
        Array.from(own, (_, at) => at),
        leaveAt,
      ),
      own,
      `asked for at ${leaveAt}`,
    );
  t.same(received(own, [], 5), Buffer.concat([own.subarray(0, 5), CLOSE_GOING_AWAY]), "but before it");
  t.end();
});

test("frames of every form of length end where they say, cut at any byte of their heads and ends", (t) => {
  for (const payloadBytes of [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000])
    for (const masked of [false, true]) {
      const { bytes, ends } = wireOf([
        { payloadBytes: 5 },
        { payloadBytes, masked },
        { payloadBytes: 2, masked },
      ]);
      const around = ends.flatMap((end) => Array.from({ length: 33 }, (_, i) => end - 16 + i));
      const near = [...new Set(around)].filter((at) => at >= 0 && at <= bytes.length).sort((a, b) => a - b);
      for (const at of [...near, Math.floor(bytes.length / 2)]) {
        const name = `${payloadBytes}${masked ? " masked" : ""}, at ${at}`;
        const wanted = expected(bytes, ends, at);
        if (!received(bytes, [], at).equals(wanted)) t.fail(`${name}, whole`);
        if (!received(bytes, near, at).equals(wanted)) t.fail(`${name}, near the ends byte by byte`);
      }
    }
  t.end();
});

test("a frame of 2^40 bytes is never interrupted", (t) => {
  const goodbye = new WebSocketGoodbye();
  const head = Buffer.from([0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
  t.equal(goodbye.pass(head), head);
  t.equal(goodbye.leave().length, 0);
  for (let i = 0; i < 1000; i++) if (goodbye.pass(NOISE) !== NOISE) t.fail(`piece ${i}`);
  t.equal(goodbye.leave().length, 0);
  t.end();
});

const frames = fc.array(
  fc.record({
    payloadBytes: fc.oneof(fc.constantFrom(0, 1, 125, 126, 65_535, 65_536), fc.nat(300), fc.nat(70_000)),
    masked: fc.boolean(),
    first: fc.nat(255),
  }),
  { maxLength: 12, size: "max" },
);
const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });

test("without a goodbye every piece passes as it is, whatever the bytes are", (t) => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
  const untouched = fc.property(pieces, (parts) => {
    const goodbye = new WebSocketGoodbye();
    return parts.every((piece) => goodbye.pass(piece) === piece);
  });
  fc.assert(untouched, { seed: SEED, numRuns: 500 });
  t.end();
});

test("any frames in any pieces, with a goodbye at any moment, come to the same as the frames say", (t) => {
  const property = fc.property(
    frames,
    shares,
    fc.double({ min: 0, max: 1, noNaN: true }),
    (list, at, leaves) => {
      const { bytes, ends } = wireOf(list);
      const offset = (share: number) => Math.round(share * bytes.length);
      const cuts = at.map(offset).sort((a, b) => a - b);
      return received(bytes, cuts, offset(leaves)).equals(expected(bytes, ends, offset(leaves)));
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 1500 });
  t.end();
});

test("whatever the bytes are, after the Close there is nothing more", (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 400 }), shares, fc.nat(400), (raw, at, leaves) => {
    const bytes = Buffer.from(raw);
    const leaveAt = Math.min(leaves, bytes.length);
    const cuts = at.map((share) => Math.round(share * bytes.length)).sort((a, b) => a - b);
    const got = received(bytes, cuts, leaveAt);
    if (got.equals(bytes)) return true;
    const passed = got.length - CLOSE_GOING_AWAY.length;
    return (
      passed >= leaveAt &&
      got.subarray(passed).equals(CLOSE_GOING_AWAY) &&
      got.subarray(0, passed).equals(bytes.subarray(0, passed))
    );
  });
  fc.assert(property, { seed: SEED, numRuns: 1500 });
  t.end();
});

const GONE = new ProxyError("client_closed", "the caller has gone");

for (const { moment, code, begin } of [
  {
    moment: "is given up before it begins",
    code: "client_closed",
    begin(exchange: Exchange, open: () => Promise<unknown>) {
      exchange.abort(GONE);
      return open();
    },
  },
  {
    moment: "is given up before it has a socket",
    code: "client_closed",
    begin(exchange: Exchange, open: () => Promise<unknown>) {
      const opened = open();
      exchange.abort(GONE);
      return opened;
    },
  },
  {
    moment: "has a field from a layer that Node does not write",
    code: "internal_error",
    begin(exchange: Exchange, open: () => Promise<unknown>) {
      exchange.headers.push("X-Odd", "a\nb");
      return open();
    },
  },
])
  test(`an upgrade that ${moment} gives its place back once, and leaves no timer`, async (t) => {
    const clock = new ManualClock();
    const exchange = exchangeOf({ upgrade: "websocket" });
    let closed = 0;
    const parts = {
      endpoint: { address: "127.0.0.1", port: 1, weight: 1, source: "test" },
      upstreamName: "orders",
      clock,
      connectMs: 1000,
      attemptMs: 1000,
      idleMs: 1000,
      tunnelIdleMs: 1000,
      onClosed: () => closed++,
    };
    await t.rejects(
      begin(exchange, () => openTunnel(parts, exchange)),
      { code },
    );
    for (let i = 0; i < 20; i++) await settled();
    t.equal(closed, 1);
    t.equal(clock.pending, 0);
    t.not(exchange.state, "suspended");
  });
