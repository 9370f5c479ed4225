import { type Test, test } from "tap";
import {
  CHUNKED,
  DEFAULT_LIMITS,
  MessageParser,
  type ParsedRequest,
  type ParsedResponse,
  parseRequestHead,
  UNTIL_CLOSE,
} from "../../../proxy/http1/index.ts";
import {
  block,
  type CodecEvent,
  cutAt,
  type Reading,
  requests,
  responses,
  splitDifferences,
  wire,
} from "../../support/codec.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const SEED = 20260801;

interface Accepted<Head> {
  readonly promise: string;
  readonly text: string;
  /** What differs from the plainest head. */
  readonly head?: Partial<Head>;
  readonly body?: string;
  readonly trailers?: readonly string[];
}

const PLAIN_REQUEST: ParsedRequest = {
  method: "GET",
  target: "/",
  authority: "a",
  minorVersion: 1,
  headers: [],
  framing: 0,
  keepAlive: true,
  expectsContinue: false,
  upgrade: "",
};

function get(...fields: readonly string[]): string {
  return block("GET / HTTP/1.1", "Host: a", ...fields);
}

function post(...fields: readonly string[]): string {
  return block("POST / HTTP/1.1", "Host: a", ...fields);
}

/** A request line with its authority in Host, and what shall be read from it. */
function targeted(line: string, host: string, method: string, target: string): Accepted<ParsedRequest> {
  return {
    promise: `${line} for ${host} is ${target}`,
    text: block(`${line} HTTP/1.1`, `Host: ${host}`),
    head: { method, target, authority: host },
  };
}

const TE_CHUNKED = "Transfer-Encoding: chunked";
const KEPT_THOUGH_NAMED = [
  "X-Forwarded-For",
  "X-Forwarded-Client-Cert",
  "x-heddle-anything",
  "X-Request-Id",
  "Via",
  "Cache-Control",
  "Authorization",
  "Cookie",
  "Set-Cookie",
];

const REQUESTS: readonly Accepted<ParsedRequest>[] = [
  { promise: "the plainest request", text: get() },
  {
    promise: "order, case and repetition of the fields are kept",
    text: get("b: 1", "A: 2", "B: 3", "x-LONG_name.1: 4", "!#$%&'*+-.^_`|~: 5"),
    head: { headers: ["b", "1", "A", "2", "B", "3", "x-LONG_name.1", "4", "!#$%&'*+-.^_`|~", "5"] },
  },
  {
    promise: "white space around a value is not part of it, within it is",
    text: get("A:1", "B: \t 2 \t ", "C:", "D: \t ", "E: x \t y", "F: :a:"),
    head: { headers: ["A", "1", "B", "2", "C", "", "D", "", "E", "x \t y", "F", ":a:"] },
  },
  {
    promise: "obs-text in a value is kept byte for byte",
    text: get("A: \x80\xe9\xff", "B: \xa0x\xa0\x85"),
    head: { headers: ["A", "\x80\xe9\xff", "B", "\xa0x\xa0\x85"] },
  },
  {
    promise: "only a blank is a blank: an option behind a non-breaking space is another option",
    text: block("GET / HTTP/1.1", "Host: a", "Connection: \xa0close", "X-A: 1"),
    head: { headers: ["X-A", "1"] },
  },
  {
    promise: "what concerns this hop goes no further",
    text: get(
      "A: 1",
      "Connection: keep-alive",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "TE: gzip",
      "Upgrade: h2c",
      "UPGRADE: websocket",
      "B: 2",
    ),
    head: { headers: ["A", "1", "B", "2"] },
  },
  {
    promise: "what Connection names goes no further, in any case, however often, before or behind it",
    text: get(
      "A: 1",
      "x-b: 2",
      "Connection: X-B, , x-c,close",
      "B: 3",
      "X-C: 4",
      "x-c: 5",
      "X-b: 6",
      "CONNECTION:a",
    ),
    head: { headers: ["B", "3"], keepAlive: false },
  },
  {
    promise: "what heddle and its peers rely on cannot be stripped by naming it in Connection",
    text: get(
      `Connection: ${KEPT_THOUGH_NAMED.join(", ")}`,
      ...KEPT_THOUGH_NAMED.map((name) => `${name}: 1`),
    ),
    head: { headers: KEPT_THOUGH_NAMED.flatMap((name) => [name, "1"]) },
  },
  {
    promise: "what frames or routes a message cannot be stripped by naming it in Connection",
    text: `${post("Connection: Host, Content-Length, Transfer-Encoding", "Content-Length: 2")}hi`,
    head: { method: "POST", framing: 2 },
    body: "hi",
  },
  { promise: "close ends the connection", text: get("Connection: close"), head: { keepAlive: false } },
  { promise: "so it does among others", text: get("Connection: x, CLOSE\t"), head: { keepAlive: false } },
  {
    promise: "and in a second line",
    text: get("Connection: x", "connection: Close"),
    head: { keepAlive: false },
  },
  { promise: "closed is not close", text: get("Connection: closed, x-close") },
  {
    promise: "the will to take trailers is handed on",
    text: get("TE: gzip;q=0.5, Trailers", "A: 1"),
    head: { headers: ["A", "1", "TE", "trailers"] },
  },
  { promise: "trailers2 is not trailers", text: get("TE: trailers2, xtrailers") },
  {
    promise: "HTTP/1.0 needs no Host and keeps no connection",
    text: block("GET / HTTP/1.0", "Connection: keep-alive"),
    head: { minorVersion: 0, authority: "", keepAlive: false },
  },
  {
    promise: "HTTP/1.0 may have no fields at all",
    text: block("GET /a HTTP/1.0"),
    head: { target: "/a", minorVersion: 0, authority: "", keepAlive: false },
  },
  { promise: "one empty line before a request is ignored", text: `\r\n${get()}` },
  {
    promise: "a method is any token, and its case matters",
    text: block("get-IT! / HTTP/1.1", "Host: a"),
    head: { method: "get-IT!" },
  },
  targeted('GET /a/../b//c;d=%20?q=/?&"<>\\^`{|}~', "a", "GET", '/a/../b//c;d=%20?q=/?&"<>\\^`{|}~'),
  targeted("GET //b/c", "a", "GET", "//b/c"),
  targeted("OPTIONS *", "a", "OPTIONS", "*"),
  targeted("OPTIONS /", "a", "OPTIONS", "/"),
  targeted("GET http://a/b?c", "a", "GET", "/b?c"),
  targeted("GET HTTP://a:80/b", "a:80", "GET", "/b"),
  targeted("GET http://a", "a", "GET", "/"),
  targeted("GET http://a?b/c?d", "a", "GET", "/?b/c?d"),
  targeted("GET http://a/?http://b/", "a", "GET", "/?http://b/"),
  targeted("GET http://a//b@c/", "a", "GET", "//b@c/"),
  targeted("OPTIONS http://a", "a", "OPTIONS", "*"),
  targeted("OPTIONS http://a/", "a", "OPTIONS", "/"),
  targeted("OPTIONS http://a?b", "a", "OPTIONS", "/?b"),
  targeted("GET /", "a-b_c.d~1:65535", "GET", "/"),
  targeted("GET http://[::1]:8080/", "[::1]:8080", "GET", "/"),
  targeted("GET /", "[::ffff:127.0.0.1]", "GET", "/"),
  {
    promise: "the authority of the target and Host may differ in case",
    text: block("GET http://A.b/ HTTP/1.1", "HOST:\tA.B "),
    head: { authority: "A.b" },
  },
  {
    promise: "in HTTP/1.0 the target may name the authority alone",
    text: block("GET http://b:1/c HTTP/1.0"),
    head: { target: "/c", authority: "b:1", minorVersion: 0, keepAlive: false },
  },
  {
    promise: "a body of a length, with bytes of every kind",
    text: `${post("Content-Length: 8")}\r\n\r\n\x00\x80\xff\n`,
    head: { method: "POST", framing: 8 },
    body: "\r\n\r\n\x00\x80\xff\n",
  },
  { promise: "a length of nothing is no body", text: post("content-LENGTH:\t00"), head: { method: "POST" } },
  {
    promise: "the largest length is exact",
    text: post("Content-Length: 999999999999999"),
    head: { method: "POST", framing: 999_999_999_999_999 },
  },
  {
    promise: "a body in chunks, in any case and with leading zeros",
    text: `${post(TE_CHUNKED.toUpperCase())}5\r\nhello\r\n000a\r\n 0123\r\n\r\nx\r\n0A\r\nabcdefghij\r\n0\r\n\r\n`,
    head: { method: "POST", framing: CHUNKED },
    body: "hello 0123\r\n\r\nxabcdefghij",
    trailers: [],
  },
  {
    promise: "a body of no chunks",
    text: `${post(TE_CHUNKED)}000\r\n\r\n`,
    head: { method: "POST", framing: CHUNKED },
  },
  {
    promise: "chunk extensions are dropped",
    text: `${post(TE_CHUNKED)}2;a\r\nhi\r\n1;a="b;c" ;\td=\xe9\r\n!\r\n0;last\r\n\r\n`,
    head: { method: "POST", framing: CHUNKED },
    body: "hi!",
  },
  {
    promise: "trailers are kept like fields, but for those of this hop",
    text: `${post(TE_CHUNKED)}2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-sum:  2 \r\nKeep-Alive: x\r\nTE: trailers\r\nE:\r\n\r\n`,
    head: { method: "POST", framing: CHUNKED },
    body: "hi",
    trailers: ["X-Sum", "1", "x-sum", "2", "E", ""],
  },
  {
    promise: "who expects 100 waits for it when a body follows",
    text: `${post("Expect: 100-Continue", "Content-Length: 2")}hi`,
    head: { method: "POST", framing: 2, expectsContinue: true },
    body: "hi",
  },
  { promise: "without a body nothing is waited for", text: get("Expect: 100-continue") },
  {
    promise: "an expectation of HTTP/1.0 is ignored",
    text: `${block("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 2")}hi`,
    head: { method: "POST", minorVersion: 0, authority: "", framing: 2, keepAlive: false },
    body: "hi",
  },
];

interface AcceptedResponse extends Accepted<ParsedResponse> {
  /** Of the request that is answered. */
  readonly method?: string;
  /** The heads that come before the last one. */
  readonly interim?: readonly Partial<ParsedResponse>[];
}

const PLAIN_RESPONSE: ParsedResponse = {
  status: 200,
  reason: "OK",
  headers: [],
  framing: 0,
  interim: false,
  keepAlive: true,
  keepAliveTimeoutMs: undefined,
};

function ok(...fields: readonly string[]): string {
  return block("HTTP/1.1 200 OK", ...fields);
}

function empty(...fields: readonly string[]): string {
  return ok("Content-Length: 0", ...fields);
}

/** A final answer with this `Keep-Alive`, and what it promises. */
function promising(value: string, keepAliveTimeoutMs: number | undefined): AcceptedResponse {
  return {
    promise: `Keep-Alive: ${value} promises ${keepAliveTimeoutMs}`,
    text: empty(`Keep-Alive: ${value}`),
    head: { keepAliveTimeoutMs },
  };
}

const RESPONSES: readonly AcceptedResponse[] = [
  { promise: "the plainest answer", text: empty() },
  { promise: "an empty reason", text: block("HTTP/1.1 200 ", "Content-Length: 0"), head: { reason: "" } },
  { promise: "no reason at all", text: block("HTTP/1.1 200", "Content-Length: 0"), head: { reason: "" } },
  {
    promise: "a reason with blanks and obs-text",
    text: block("HTTP/1.1 599  N\xf6 \t", "Content-Length: 0"),
    head: { status: 599, reason: " N\xf6 \t" },
  },
  { promise: "one empty line before an answer is ignored", text: `\r\n${empty()}` },
  {
    promise: "fields are kept, but for those of this hop and those that Connection names",
    text: empty(
      "a: 1",
      "Set-Cookie: x",
      "SET-cookie: y",
      "Connection: b, set-cookie",
      "B: 2",
      "Upgrade: h2c",
      "Proxy-Connection: x",
    ),
    head: { headers: ["a", "1", "Set-Cookie", "x", "SET-cookie", "y"] },
  },
  { promise: "close ends the connection", text: empty("Connection: x,close"), head: { keepAlive: false } },
  {
    promise: "a body of a length",
    text: `${ok("Content-Length: 5")}hello`,
    head: { framing: 5 },
    body: "hello",
  },
  {
    promise: "a body in chunks with trailers",
    text: `${ok(TE_CHUNKED)}5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n`,
    head: { framing: CHUNKED },
    body: "hello",
    trailers: ["X-Sum", "1"],
  },
  {
    promise: "a body until the end of the connection",
    text: `${ok()}hello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n`,
    head: { framing: UNTIL_CLOSE, keepAlive: false },
    body: "hello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  },
  {
    promise: "an empty body until the end of the connection",
    text: ok(),
    head: { framing: UNTIL_CLOSE, keepAlive: false },
  },
  {
    promise: "HTTP/1.0 keeps no connection, though it knows the length",
    text: `${block("HTTP/1.0 200 OK", "Content-Length: 2", "Connection: keep-alive")}hi`,
    head: { framing: 2, keepAlive: false },
    body: "hi",
  },
  {
    promise: "an answer to HEAD has no body, and its length is information",
    text: ok("Content-Length: 5", "a: 1"),
    method: "HEAD",
    head: { headers: ["a", "1", "Content-Length", "5"] },
  },
  { promise: "an answer to HEAD in chunks has none of them", text: ok(TE_CHUNKED), method: "HEAD" },
  { promise: "an answer to HEAD without any length ends with its head", text: ok(), method: "HEAD" },
  {
    promise: "304 has no body, and its length is information",
    text: block("HTTP/1.1 304 Not Modified", "Content-Length: 5"),
    head: { status: 304, reason: "Not Modified", headers: ["Content-Length", "5"] },
  },
  {
    promise: "304 in chunks has none of them",
    text: block("HTTP/1.1 304 X", TE_CHUNKED),
    head: { status: 304, reason: "X" },
  },
  {
    promise: "204 has no body",
    text: block("HTTP/1.1 204 X", "a: 1"),
    head: { status: 204, reason: "X", headers: ["a", "1"] },
  },
  {
    promise: "204 may say so",
    text: block("HTTP/1.1 204 X", "Content-Length: 0"),
    head: { status: 204, reason: "X" },
  },
  {
    promise: "interim answers come before the final one, each with its fields",
    text: `${block("HTTP/1.1 100 Continue")}${block("HTTP/1.1 103 Early Hints", "Link: </a>", "Connection: close")}\r\n${block("HTTP/1.1 199 X", "Content-Length: 0")}${empty()}`,
    interim: [
      { status: 100, reason: "Continue" },
      { status: 103, reason: "Early Hints", headers: ["Link", "</a>"], keepAlive: false },
      { status: 199, reason: "X" },
    ],
  },
  {
    promise: "an interim answer to HEAD is followed by the final one, too",
    text: block("HTTP/1.1 100 X") + ok(TE_CHUNKED),
    method: "HEAD",
    interim: [{ status: 100, reason: "X" }],
  },
  promising("timeout=5", 5000),
  promising("max=100, Timeout=30", 30_000),
  promising("timeout=0;max=1", 0),
  promising("max=100", undefined),
  promising("xtimeout=5", undefined),
  promising("timeout=", undefined),
];

function eventsOf<Head extends ParsedRequest | ParsedResponse>(
  plain: Head,
  accepted: Accepted<Head>,
  before: number,
): readonly CodecEvent[] {
  const head: Head = { ...plain, ...accepted.head };
  const events: CodecEvent[] = [{ on: "head", head }];
  if (accepted.body !== undefined) events.push({ on: "data", bytes: accepted.body });
  const complete = head.framing < 1 || accepted.body !== undefined;
  if (complete)
    events.push({ on: "end", trailers: accepted.trailers ?? [], at: before + accepted.text.length });
  return events;
}

function requestEvents(accepted: Accepted<ParsedRequest>, before = 0): readonly CodecEvent[] {
  return eventsOf(PLAIN_REQUEST, accepted, before);
}

function responseEvents(accepted: AcceptedResponse, before = 0): readonly CodecEvent[] {
  const interim = (accepted.interim ?? []).map(
    (head): CodecEvent => ({ on: "head", head: { ...PLAIN_RESPONSE, interim: true, ...head } }),
  );
  return [...interim, ...eventsOf(PLAIN_RESPONSE, accepted, before)];
}

/** How it ends when no more bytes come. */
function closing(events: readonly CodecEvent[], framing: number | undefined): readonly CodecEvent[] {
  const ended = events.at(-1)?.on === "end";
  const byClosing = framing === UNTIL_CLOSE;
  return [...events, { on: "close", ended: byClosing, idle: ended && !byClosing }];
}

interface Case {
  readonly promise: string;
  readonly text: string;
  readonly read: Reading;
  readonly expected: readonly CodecEvent[];
}

function assertReads(t: Test, cases: readonly Case[]): void {
  const random = seededRandom(SEED);
  const differences: string[] = [];
  for (const { promise, text, read, expected } of cases) {
    t.strictSame(read([wire(text)]), expected, promise);
    differences.push(...splitDifferences(read, wire(text), random));
  }
  t.strictSame(differences.slice(0, 3), [], `${differences.length} are read otherwise when they are split`);
}

test("a request is accepted with its exact head, body and end, wherever its bytes are split", (t) => {
  const cases = REQUESTS.map((accepted) => ({
    ...accepted,
    read: requests(),
    expected: closing(requestEvents(accepted), accepted.head?.framing),
  }));
  assertReads(t, cases);
  t.end();
});

test("a response is accepted with its exact head, body and end, wherever its bytes are split", (t) => {
  const cases = RESPONSES.map((accepted) => ({
    ...accepted,
    read: responses([accepted.method ?? "GET"]),
    expected: closing(responseEvents(accepted), accepted.head?.framing),
  }));
  assertReads(t, cases);
  t.end();
});

test("a message may come line by line, as from somebody who types it", (t) => {
  const typed = `${post(TE_CHUNKED, "A: 1")}2\r\nhi\r\n0\r\nB: 2\r\nC: 3\r\n\r\n`;
  const lines = typed.split(/(?<=\n)/).map(wire);
  t.strictSame(requests()(lines), [
    { on: "head", head: { ...PLAIN_REQUEST, method: "POST", framing: CHUNKED, headers: ["A", "1"] } },
    { on: "data", bytes: "hi" },
    { on: "end", trailers: ["B", "2", "C", "3"], at: typed.length },
    { on: "close", ended: false, idle: true },
  ]);
  t.end();
});

test("a flood of tiny chunks does not become a flood of pieces", (t) => {
  let pieces = 0;
  let bytes = 0;
  const parser: MessageParser<ParsedRequest> = new MessageParser(
    (text) => parseRequestHead(text, DEFAULT_LIMITS),
    DEFAULT_LIMITS,
    {
      onHead: () => {},
      onData(_, start, end) {
        pieces++;
        bytes += end - start;
      },
      onEnd: () => {},
    },
  );
  for (const text of [post(TE_CHUNKED), "1\r\na\r\n".repeat(10_000)])
    parser.execute(wire(text), 0, text.length);
  t.equal(bytes, 10_000);
  // Each piece costs its reader an object, a place in a queue and up to three writes.
  t.ok(pieces <= 100, `${pieces} pieces`);
  t.end();
});

test("messages behind each other are read one by one: each call stops at the end of one", (t) => {
  const whole = REQUESTS.filter((accepted) => requestEvents(accepted).at(-1)?.on === "end");
  const answers = RESPONSES.filter((accepted) => accepted.head?.framing !== UNTIL_CLOSE);
  const inOrder = [...whole, ...whole.toReversed()];
  const answersInOrder = [...answers, ...answers.toReversed()];
  const expect = <One extends { readonly text: string }>(
    all: readonly One[],
    eventsAt: (one: One, before: number) => readonly CodecEvent[],
  ) => {
    let before = 0;
    const events = all.flatMap((one) => {
      const of = eventsAt(one, before);
      before += one.text.length;
      return of;
    });
    return closing(events, undefined);
  };
  const methods = answersInOrder.map((accepted) => accepted.method ?? "GET");
  for (const [read, all, expected] of [
    [requests(), inOrder, expect(inOrder, requestEvents)],
    [responses(methods), answersInOrder, expect(answersInOrder, responseEvents)],
  ] as const) {
    const bytes = wire(all.map((one) => one.text).join(""));
    t.strictSame(read([bytes]), expected, "whole");
    const random = seededRandom(SEED);
    for (let round = 0; round < 50; round++) {
      const cuts: number[] = [];
      for (let at = 0; at < bytes.length; at += 1 + Math.floor(random.next() * 40)) cuts.push(at);
      if (JSON.stringify(read(cutAt(bytes, cuts))) === JSON.stringify(expected)) continue;
      t.fail(`read otherwise in small pieces, round ${round}`);
      break;
    }
  }
  t.end();
});

test("a message that is cut off has not ended, wherever it is cut off", (t) => {
  const notEnded = JSON.stringify({ on: "close", ended: false, idle: false });
  const cuts = (read: Reading, { promise, text }: { readonly promise: string; readonly text: string }) => {
    const wrong: string[] = [];
    for (let length = 1; length < text.length; length++) {
      const last = JSON.stringify(read([wire(text.slice(0, length))]).at(-1));
      if (last !== notEnded) wrong.push(`after ${length} bytes: ${last}`);
    }
    t.strictSame(wrong.slice(0, 3), [], promise);
  };
  for (const one of REQUESTS) cuts(requests(), { ...one, text: one.text.trimStart() });
  for (const one of RESPONSES.filter(({ head, interim }) => head?.framing !== UNTIL_CLOSE && !interim))
    cuts(responses([one.method ?? "GET"]), { ...one, text: one.text.trimStart() });
  t.end();
});

test("a connection can ask whether a message has begun, and an empty line before it is not yet one", (t) => {
  const seen: string[] = [];
  const state = () => (parser.idle ? "idle" : "busy");
  const parser: MessageParser<ParsedRequest> = new MessageParser(
    (text) => parseRequestHead(text, DEFAULT_LIMITS),
    DEFAULT_LIMITS,
    {
      onHead: () => seen.push(`head: ${state()}`),
      onData: () => {},
      onEnd: () => seen.push(`end: ${state()}`),
    },
  );
  const feed = (text: string) => {
    parser.execute(wire(text), 0, text.length);
    seen.push(state());
  };
  seen.push(state());
  for (const text of ["\r", "\n", "GET / HTTP/1.1\r\nHost: a\r\n\r", "\n", get(), "P"]) feed(text);
  feed(post(TE_CHUNKED).slice(1));
  for (const text of ["1\r\nx\r\n0\r\n", "X: y\r\n", "\r\n"]) feed(text);
  t.strictSame(seen, [
    "idle",
    "busy",
    "idle",
    "busy",
    "head: busy",
    "end: idle",
    "idle",
    "head: busy",
    "end: idle",
    "idle",
    "busy",
    "head: busy",
    "busy",
    "busy",
    "busy",
    "end: idle",
    "idle",
  ]);
  t.end();
});
