import { type Test, test } from "tap";
import {
  FAULT_REASONS,
  type FaultReason,
  MessageFault,
  type MessageLimits,
} from "../../../proxy/http1/index.ts";
import { block, type Reading, requests, responses, splitDifferences, wire } from "../../support/codec.ts";
import { seededRandom } from "../../support/seeded-random.ts";

/** Small ones, so that every split of a message that breaks one can be tried. */
const LIMITS: MessageLimits = { startLineBytes: 64, headBytes: 256, fieldCount: 8 };

type Refused = Partial<Record<FaultReason, readonly string[]>>;

function get(...fields: readonly string[]): string {
  return block("GET / HTTP/1.1", "Host: a", ...fields);
}

/** A request whose target stands in a line that is otherwise right. */
function target(text: string, method = "GET"): string {
  return block(`${method} ${text} HTTP/1.1`, "Host: a");
}

function host(value: string): string {
  return block("GET / HTTP/1.1", `Host: ${value}`);
}

const CHUNKED = "Transfer-Encoding: chunked";
const TRAILING_FAULTS: Refused = {
  bare_carriage_return: ["0\r\nX: a\rb\r\n\r\n", "0\r\nX: a\r\r\n\r\n", "0\r\n\rX: a\r\n\r\n"],
  bare_line_feed: ["0\r\nX: a\nY: b\r\n\r\n", "0\r\n\n", "0\r\nX: a\n\r\n"],
  control_character: ["0\r\nX: \x00\r\n\r\n"],
  folded_line: ["0\r\n X: a\r\n\r\n", "0\r\nX: a\r\n b\r\n\r\n"],
  space_before_colon: ["0\r\nX : a\r\n\r\n"],
  malformed_field_name: ["0\r\n: a\r\n\r\n"],
  missing_colon: ["0\r\nX\r\n\r\n"],
  repeated_content_length: ["0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"],
  malformed_chunk_size: [
    "g\r\n",
    "\r\n",
    ";a=b\r\n",
    "0x5\r\nhello\r\n",
    "-5\r\n",
    "+5\r\n",
    " 5\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5\t;a\r\nhello\r\n",
    "5\nhello\r\n",
    "5\rhello\r\n",
    "5\r\r\nhello\r\n",
    "5;a\rb\r\nhello\r\n",
    "5,5\r\nhello\r\n",
    "5_0\r\n",
    "1000000000000\r\n",
    "0000000000005\r\nhello\r\n",
    "ffffffffffffffff0\r\n",
    "\x05\r\nhello\r\n",
    "\xb5\r\nhello\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
  ],
  malformed_chunk_extension: [
    "5;a\nhello\r\n",
    "5;a=\x00\r\nhello\r\n",
    "5;\x7f\r\nhello\r\n",
    '5;a="\n"\r\nhello\r\n',
  ],
  malformed_chunk_end: [
    "5\r\nhello!\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
  ],
  chunk_line_too_long: [
    `5;${"a".repeat(300)}\r\nhello\r\n`,
    `5;${"a".repeat(300)}`,
    `5\r\nhello\r\n5;${";".repeat(260)}\r\nhello\r\n`,
  ],
  forbidden_trailer: [
    "0\r\nContent-Length: 5\r\n\r\n",
    "0\r\nX: a\r\ntransfer-encoding: chunked\r\n\r\n",
    "0\r\nHOST: b\r\n\r\n",
    "0\r\nConnection: X\r\n\r\n",
    "0\r\nExpect: 100-continue\r\n\r\n",
    "0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "0\r\nX: a\r\nContent-Type: text/html\r\n\r\n",
    "0\r\nauthorization: a\r\n\r\n",
  ],
  head_too_large: [`0\r\nX: ${"a".repeat(260)}\r\n\r\n`, `0\r\n${"a".repeat(260)}`],
  too_many_fields: [`0\r\n${"X: a\r\n".repeat(9)}\r\n`],
};

/** What is wrong in a head's fields, whichever way the message goes. */
const FIELD_FAULTS: Refused = {
  bare_carriage_return: ["X: a\rb", "X: a\r", "X\r: a", "\rX: a"],
  bare_line_feed: ["X: a\nY: b", "X: a\n", "X: a\n\n", "\nX: a"],
  control_character: ["X: \x00", "X: a\x1bb", "X: \x7f", "X: \x08", "X\x0b: a", "X: \x0c", "\x00", "\x1f: a"],
  folded_line: ["X: a\r\n b", "X: a\r\n\tb: c", " X: a", "\tX: a"],
  space_before_colon: ["X : a", "X\t: a", "Transfer-Encoding : chunked", "Content-Length \t: 5"],
  malformed_field_name: [": a", "X(: a", "X y: a", "\xe9: a", 'X": a', "X{}: a", "X@b: a", "X,Y: a"],
  missing_colon: ["X", "X a", "a=b"],
  repeated_host: ["Host: a\r\nHost: a", "Host: a\r\nhost: b"],
  repeated_content_length: [
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\ncontent-length: 6",
    "Content-Length: 0\r\nX: a\r\nCONTENT-LENGTH: 0",
  ],
  malformed_content_length: [
    "Content-Length: ",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 5, 5",
    "Content-Length: 5,",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: 5.0",
    "Content-Length: 1e1",
    "Content-Length: five",
    "Content-Length: 5\xa0",
    "Content-Length: \xb2",
    "Content-Length: 1000000000000000",
    "Content-Length: 18446744073709551621",
  ],
  length_and_transfer_encoding: [
    `Content-Length: 5\r\n${CHUNKED}`,
    `${CHUNKED}\r\nContent-Length: 5`,
    `${CHUNKED}\r\nContent-Length: bad`,
    "Content-Length: 0\r\nTransfer-Encoding: identity",
    `Connection: content-length\r\nContent-Length: 5\r\n${CHUNKED}`,
  ],
  malformed_transfer_encoding: [
    "Transfer-Encoding: ",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: gzip, identity, chunked",
    "Transfer-Encoding: chunked;q=1",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: gzip chunked",
    "Transfer-Encoding: \xa0chunked",
    "Transfer-Encoding: chun\tked",
    `${CHUNKED}\r\n${CHUNKED}`,
    `${CHUNKED}\r\nTransfer-Encoding: identity`,
    `Transfer-Encoding: \r\n${CHUNKED}`,
  ],
  unsupported_transfer_encoding: [
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: deflate,gzip , Chunked",
    `Transfer-Encoding: x-gzip\r\n${CHUNKED}`,
    "Transfer-Encoding: compress\t,\tchunked",
  ],
  head_too_large: [`X: ${"a".repeat(260)}`, `${"X: a\r\n".repeat(50)}Y: a`, `X: ${"a".repeat(260)}\x00`],
  too_many_fields: [`${"X: a\r\n".repeat(8)}Y: a`],
};

const REQUEST_FAULTS: Refused = {
  bare_carriage_return: [
    "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
  ],
  bare_line_feed: [
    "GET / HTTP/1.1\nHost: a\n\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\n",
    "GET /\n HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  control_character: [
    "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00",
    "G\x7fT / HTTP/1.1",
  ],
  malformed_request_line: [
    block("GET /"),
    block("GET"),
    block(" / HTTP/1.1", "Host: a"),
    block("GET\t/\tHTTP/1.1", "Host: a"),
    block("GET", "Host: a b c"),
    block("GET /", "Host: a b c"),
  ],
  empty_start_line: [
    block("", "", "GET / HTTP/1.1", "Host: a"),
    "\r\n\r\n\r\n",
    "\r\n\r\n\r\nHost: a\r\n\r\n",
  ],
  malformed_method: [
    block("G(T / HTTP/1.1", "Host: a"),
    block("G\xc9T / HTTP/1.1", "Host: a"),
    block('"GET" / HTTP/1.1', "Host: a"),
    block("GET: / HTTP/1.1", "Host: a"),
    block("\tGET / HTTP/1.1", "Host: a"),
  ],
  malformed_target: [
    target(""),
    target("a"),
    target("*"),
    target("*x", "OPTIONS"),
    target("/#top"),
    target("/\xe9"),
    target("/\ta"),
    target("?a"),
    target("a:80"),
    target("https://a/"),
    target("ftp://a/"),
    target("http:/a/"),
    target("http://"),
    target("http:///x"),
    target("http://user@a/"),
    target("http://a:b/"),
    target("http://a:/"),
    target("http://[::1/"),
    target("http://a\\b/"),
    target("http://a,b/"),
  ],
  unsupported_version: [
    block("GET / HTTP/2.0", "Host: a"),
    block("GET / HTTP/1.2", "Host: a"),
    block("GET / HTTP/0.9"),
    block("PRI * HTTP/2.0"),
  ],
  malformed_version: [
    block("GET / http/1.1", "Host: a"),
    block("GET / HTTP/1.1 ", "Host: a"),
    block("GET / HTTP/1.10", "Host: a"),
    block("GET / HTTP/11", "Host: a"),
    block("GET / HTTP/1", "Host: a"),
    block("GET / HTTP/+1.1", "Host: a"),
    block("GET / x HTTP/1.1", "Host: a"),
    block("GET / ", "Host: a"),
    block("GET / ICE/1.0", "Host: a"),
  ],
  connect_method: [
    block("CONNECT a:443 HTTP/1.1", "Host: a:443"),
    block("CONNECT / HTTP/1.1", "Host: a"),
    block("CONNECT a:443 HTTP/1.0"),
  ],
  missing_host: [block("GET / HTTP/1.1"), block("GET http://a/ HTTP/1.1", "X-Host: a")],
  malformed_host: [
    host(""),
    host("a b"),
    host("a/b"),
    host("a,b"),
    host("user@a"),
    host("a:"),
    host("a:b"),
    host("a:123456"),
    host("a:80:80"),
    host("[::1"),
    host("::1"),
    host("[g]"),
    host("%61"),
    host("a?b"),
    host("a#b"),
    host("a\\b"),
    host("\xe9"),
    host("a".repeat(200).concat("/")),
    block("GET / HTTP/1.0", "Host: "),
  ],
  conflicting_host: [
    block("GET http://a/ HTTP/1.1", "Host: b"),
    block("GET http://a/ HTTP/1.0", "Host: b"),
    block("GET http://a:80/ HTTP/1.1", "Host: a"),
    block("OPTIONS http://a HTTP/1.1", "Host: b"),
  ],
  transfer_encoding_in_http10: [
    block("POST / HTTP/1.0", "Host: a", CHUNKED),
    block("POST / HTTP/1.0", CHUNKED, "Content-Length: 5"),
  ],
  unknown_expectation: [
    get("Expect: 200-ok"),
    get("Expect: "),
    get("Expect: 100-continue, x"),
    get("Expect: 100-continue", "Expect: 100-continue"),
    block("GET / HTTP/1.0", "Expect: tea"),
  ],
  start_line_too_long: [
    target(`/${"a".repeat(64)}`),
    target(`/${"a".repeat(300)}`),
    `GET /${"a".repeat(300)}`,
    "A".repeat(300),
  ],
};

const RESPONSE_FAULTS: Refused = {
  bare_carriage_return: ["\rHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n"],
  bare_line_feed: ["HTTP/1.1 200 OK\n\n", "\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\n"],
  control_character: [block("HTTP/1.1 200 O\x00K")],
  empty_start_line: [block("", "", "HTTP/1.1 200 OK"), "\r\n\r\n\r\n"],
  malformed_status_line: [
    block("HTTP/1.1 200OK"),
    block("HTTP/1.1  200 OK"),
    block("HTTP/1.1 20 OK"),
    block("HTTP/1.1 2000 OK"),
    block("HTTP/1.1 099 OK"),
    block("HTTP/1.1 600 OK"),
    block("HTTP/1.1 2x0 OK"),
    block("HTTP/1.1"),
    block("HTTP/1.1 "),
    block("HTTP/1.2 200 OK"),
    block("HTTP/2.0 200 OK"),
    block("HTTP/1.10 200 OK"),
    block("http/1.1 200 OK"),
    block("ICY 200 OK"),
    block(" HTTP/1.1 200 OK"),
    block("HTTP/1.1\t200\tOK"),
    block("GET / HTTP/1.1"),
  ],
  transfer_encoding_in_http10: [block("HTTP/1.0 200 OK", CHUNKED)],
  body_forbidden: [
    block("HTTP/1.1 204 No Content", "Content-Length: 5"),
    block("HTTP/1.1 204 No Content", CHUNKED),
    block("HTTP/1.1 204 No Content", CHUNKED, "Content-Length: 0"),
    block("HTTP/1.1 204 No Content", "Transfer-Encoding: identity"),
    block("HTTP/1.1 100 Continue", "Content-Length: 5"),
    block("HTTP/1.1 103 Early Hints", CHUNKED),
  ],
  too_many_interims: ["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33)],
  unexpected_switch: [
    block("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"),
    `${block("HTTP/1.1 100 Continue")}${block("HTTP/1.1 101 Switching Protocols")}`,
  ],
  malformed_content_length: [block("HTTP/1.1 204 No Content", "Content-Length: none")],
  head_too_large: [block(`HTTP/1.1 200 ${"a".repeat(64)}`)],
};

function after(head: string, table: Refused): Refused {
  return mapTexts(table, (text) => head + text);
}

function mapTexts(table: Refused, change: (text: string) => string): Refused {
  return Object.fromEntries(
    Object.entries(table).map(([reason, texts]) => [reason, texts.map((text) => change(text))]),
  );
}

const REFUSED_REQUESTS: readonly Refused[] = [
  REQUEST_FAULTS,
  // The case of repeated_host brings both of its own.
  mapTexts(FIELD_FAULTS, (lines) =>
    /^host:/i.test(lines) ? block("POST / HTTP/1.1", lines) : block("POST / HTTP/1.1", "Host: a", lines),
  ),
  after(block("POST / HTTP/1.1", "Host: a", CHUNKED), TRAILING_FAULTS),
];
const REFUSED_RESPONSES: readonly Refused[] = [
  RESPONSE_FAULTS,
  mapTexts(FIELD_FAULTS, (lines) => block("HTTP/1.1 200 OK", lines)),
  after(block("HTTP/1.1 200 OK", CHUNKED), TRAILING_FAULTS),
];

function assertRefused(t: Test, read: Reading, tables: readonly Refused[]): void {
  const random = seededRandom(20260801);
  const differences: string[] = [];
  for (const [reason, texts] of tables.flatMap((table) => Object.entries(table))) {
    for (const text of texts) {
      const bytes = wire(text);
      t.strictSame(read([bytes]).at(-1), { on: "fault", reason }, `${reason}: ${JSON.stringify(text)}`);
      differences.push(...splitDifferences(read, bytes, random));
    }
  }
  t.strictSame(differences.slice(0, 3), [], `${differences.length} are read otherwise when they are split`);
}

test("a faulty request is refused for its own reason, and for the same one wherever its bytes are split", (t) => {
  assertRefused(t, requests(LIMITS), REFUSED_REQUESTS);
  t.end();
});

test("a faulty response is refused for its own reason, and for the same one wherever its bytes are split", (t) => {
  assertRefused(t, responses(["GET"], LIMITS), REFUSED_RESPONSES);
  t.end();
});

test("the fields of an answer without a body are judged as strictly as those of one with a body", (t) => {
  const read = responses(["HEAD"], LIMITS);
  const framings = [
    "malformed_content_length",
    "length_and_transfer_encoding",
    "malformed_transfer_encoding",
  ];
  for (const reason of framings)
    for (const lines of FIELD_FAULTS[reason as FaultReason]!)
      for (const status of ["200 OK", "304 Not Modified"])
        t.strictSame(read([wire(block(`HTTP/1.1 ${status}`, lines))]), [{ on: "fault", reason }], lines);
  t.end();
});

test("every reason to refuse a message has a message that provokes it", (t) => {
  const provoked = new Set(
    [...REFUSED_REQUESTS, ...REFUSED_RESPONSES].flatMap((table) => Object.keys(table)),
  );
  t.strictSame(
    Object.keys(FAULT_REASONS).filter((reason) => !provoked.has(reason)),
    [],
    "these are in no table",
  );
  t.end();
});

test("a caller is told by the status whether its request was wrong, too large or not supported", (t) => {
  const particular: Partial<Record<FaultReason, string>> = {
    unsupported_version: "version_not_supported",
    connect_method: "not_implemented",
    unsupported_transfer_encoding: "not_implemented",
    unknown_expectation: "expectation_failed",
    start_line_too_long: "uri_too_long",
    head_too_large: "headers_too_large",
    too_many_fields: "headers_too_large",
  };
  for (const reason of Object.keys(FAULT_REASONS) as FaultReason[]) {
    const fault = new MessageFault(reason);
    t.equal(fault.requestCode, particular[reason] ?? "bad_request", reason);
    t.equal(fault.reason, reason);
    t.equal(fault.message, FAULT_REASONS[reason][1]);
  }
  t.end();
});

test("an endless head is refused as soon as it is larger than allowed, whoever sends it", (t) => {
  const endless: readonly (readonly [Reading, string])[] = [
    [requests(LIMITS), "GET / HTTP/1.1\r\nHost: a\r\nX: "],
    [requests(LIMITS), "GET /"],
    [requests(LIMITS), `${block("POST / HTTP/1.1", "Host: a", CHUNKED)}0\r\nX: `],
    [responses(["GET"], LIMITS), "HTTP/1.1 200 OK\r\nX: "],
  ];
  for (const [read, beginning] of endless) {
    const before = beginning.indexOf("\r\n\r\n0\r\n");
    const fed = `${beginning}${"a".repeat(300)}`;
    const countedFrom = before === -1 ? 0 : before + 5;
    const enough = countedFrom + LIMITS.headBytes + 4;
    t.equal(read([wire(fed.slice(0, enough))]).at(-1)?.on, "fault", `${enough} bytes are enough`);
    t.equal(read([wire(fed.slice(0, enough - 10))]).at(-1)?.on, "close", "a few less may still become right");
  }
  t.end();
});

test("a limit is kept exactly: what is as large as allowed passes, one more is refused", (t) => {
  const filled = (beginning: string, bytes: number) => beginning + "a".repeat(bytes - beginning.length);
  const line = (bytes: number) => block(`${filled("GET /", bytes - 9)} HTTP/1.1`, "Host: a");
  // The block of a head ends with the CRLF of its last line.
  const head = (bytes: number) => `${filled("GET / HTTP/1.1\r\nHost: a\r\nX: ", bytes - 2)}\r\n\r\n`;
  const manyLines = (bytes: number) =>
    `${filled(`GET / HTTP/1.1\r\nHost: a\r\n${"X:\r\n".repeat(5)}Y: `, bytes - 2)}\r\n\r\n`;
  const fields = (count: number) => block("GET / HTTP/1.1", "Host: a", ...Array(count - 1).fill("X: a"));
  const body = block("POST / HTTP/1.1", "Host: a", CHUNKED);
  // The CRLF that ends the line of the last chunk counts as a part of the trailers.
  const trailers = (bytes: number) => `${body}0\r\n${filled("X: ", bytes - 4)}\r\n\r\n`;
  const trailerFields = (count: number) => `${body}0\r\n${"X: a\r\n".repeat(count)}\r\n`;
  // The CR of a chunk's line counts, its LF does not.
  const chunkLine = (bytes: number) => `${body}${filled("1;", bytes - 1)}\r\nx\r\n0\r\n\r\n`;
  const lastChunkLine = (bytes: number) => `${body}${filled("0;", bytes - 1)}\r\n\r\n`;
  const digits = (count: number) => `${body}${"1".padStart(count, "0")}\r\nx\r\n0\r\n\r\n`;
  const statusLine = (bytes: number) => block(filled("HTTP/1.1 204 ", bytes));
  const responseHead = (bytes: number) => `${filled("HTTP/1.1 204 No Content\r\nX: ", bytes - 2)}\r\n\r\n`;
  const read = requests(LIMITS);
  const readAnswer = responses(["GET"], LIMITS);
  const limits: readonly (readonly [Reading, (size: number) => string, number, FaultReason])[] = [
    [read, line, LIMITS.startLineBytes, "start_line_too_long"],
    [read, head, LIMITS.headBytes, "head_too_large"],
    [read, manyLines, LIMITS.headBytes, "head_too_large"],
    [read, (bytes) => `\r\n${head(bytes)}`, LIMITS.headBytes, "head_too_large"],
    [read, fields, LIMITS.fieldCount, "too_many_fields"],
    [read, trailers, LIMITS.headBytes, "head_too_large"],
    [read, trailerFields, LIMITS.fieldCount, "too_many_fields"],
    [read, chunkLine, 256, "chunk_line_too_long"],
    [read, lastChunkLine, 256, "chunk_line_too_long"],
    [read, digits, 12, "malformed_chunk_size"],
    [readAnswer, statusLine, LIMITS.startLineBytes, "head_too_large"],
    [readAnswer, responseHead, LIMITS.headBytes, "head_too_large"],
  ];
  const random = seededRandom(20260802);
  for (const [reading, message, limit, reason] of limits) {
    const allowed = wire(message(limit));
    const refused = wire(message(limit + 1));
    t.strictSame(reading([allowed]).at(-1), { on: "close", ended: false, idle: true }, `${limit} pass`);
    t.strictSame(reading([refused]).at(-1), { on: "fault", reason }, `${limit + 1}: ${reason}`);
    t.strictSame(splitDifferences(reading, allowed, random), [], `${limit} pass at every split`);
    t.strictSame(splitDifferences(reading, refused, random), [], `${reason} at every split`);
  }
  t.end();
});

test("a body is not limited by what limits a head", (t) => {
  const body = "x".repeat(1000);
  const whole = `${block("POST / HTTP/1.1", "Host: a", "Content-Length: 1000")}${body}`;
  const chunked = `${block("POST / HTTP/1.1", "Host: a", CHUNKED)}3e8\r\n${body}\r\n0\r\n\r\n`;
  for (const text of [whole, chunked]) {
    const data = requests(LIMITS)([wire(text)])[1];
    t.strictSame(data, { on: "data", bytes: body });
  }
  t.end();
});
