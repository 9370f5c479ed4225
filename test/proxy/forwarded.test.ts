import { test } from "tap";
import { Body } from "../../core/index.ts";
import { answerFraming, answerHead, interimHead, requestHead } from "../../proxy/forwarded.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";

const SOURCE = { pause() {}, resume() {}, cancel() {} };
/** A body whose length only its framing tells. */
const unknownLength = () => new Body(SOURCE, undefined);

const TEXT = (...lines: string[]): string => [...lines, "", ""].join("\r\n");

/** The head as it is written for an attempt, line by line. */
function linesFor(settings: ExchangeSettings, attempts = 1): string[] {
  const exchange = exchangeOf(settings);
  exchange.attempts = attempts;
  return requestHead(exchange, "orders", 0).split("\r\n");
}

function fields(lines: readonly string[], name: string): string[] {
  return lines.filter((line) => line.toLowerCase().startsWith(`${name}:`));
}

// --- the request

test("a request goes out with its fields in order and case, and with what a proxy adds behind them", async (t) => {
  const exchange = exchangeOf({
    method: "GET",
    target: "/items/7?full=1",
    authority: "orders:8080",
    headers: ["accept", "text/html", "X-Tag", "b", "x-tag", "a", "ACCEPT-Encoding", "gzip"],
    requestId: "4711",
    clientAddress: "10.0.0.9",
  });
  exchange.attempts = 1;
  t.equal(
    requestHead(exchange, "orders", 0),
    TEXT(
      "GET /items/7?full=1 HTTP/1.1",
      "Host: orders:8080",
      "accept: text/html",
      "X-Tag: b",
      "x-tag: a",
      "ACCEPT-Encoding: gzip",
      "X-Request-Id: 4711",
      "X-Forwarded-For: 10.0.0.9",
      "X-Forwarded-Proto: http",
      "X-Forwarded-Host: orders:8080",
      "Via: 1.1 heddle",
    ),
  );
});

test("a caller that names no host is forwarded under the upstream's name, and nothing is invented about it", async (t) => {
  const lines = linesFor({ authority: "", minorVersion: 0 });
  t.equal(lines[0], "GET / HTTP/1.1");
  t.same(fields(lines, "host"), ["Host: orders"]);
  t.same(fields(lines, "x-forwarded-host"), []);
});

test("what earlier proxies said about the caller is kept, and added to", async (t) => {
  const lines = linesFor({
    clientAddress: "10.0.0.9",
    headers: [
      "x-forwarded-for",
      "203.0.113.7",
      "Via",
      "1.0 fred",
      "X-Forwarded-Proto",
      "https",
      "X-FORWARDED-HOST",
      "shop.example",
      "X-Forwarded-For",
      "198.51.100.2, 10.0.0.1",
      "via",
      "1.1 wilma, 2 barney",
    ],
  });
  t.same(fields(lines, "x-forwarded-for"), [
    "X-Forwarded-For: 203.0.113.7, 198.51.100.2, 10.0.0.1, 10.0.0.9",
  ]);
  t.same(fields(lines, "via"), ["Via: 1.0 fred, 1.1 wilma, 2 barney, 1.1 heddle"]);
  t.same(fields(lines, "x-forwarded-proto"), ["X-Forwarded-Proto: https"]);
  t.same(fields(lines, "x-forwarded-host"), ["X-FORWARDED-HOST: shop.example"]);
});

test("there is one request id, the exchange's, whatever the fields say", async (t) => {
  const lines = linesFor({ requestId: "4711", headers: ["x-request-ID", "a", "X-Request-Id", "b"] });
  t.same(fields(lines, "x-request-id"), ["X-Request-Id: 4711"]);
});

test("framing is written from what is known about the body, never from fields that a layer left there", async (t) => {
  const leftover = [
    "Content-Length",
    "99",
    "Transfer-Encoding",
    "gzip",
    "Connection",
    "close",
    "Host",
    "evil",
  ];
  const framed: [string, Body | undefined, string[]][] = [
    ["no body", undefined, []],
    ["a known length", Body.of(new Uint8Array(5)), ["Content-Length: 5"]],
    ["a known length that has not come yet", new Body(SOURCE, 7), ["Content-Length: 7"]],
    ["an unknown length", unknownLength(), ["Transfer-Encoding: chunked"]],
  ];
  for (const [why, body, expected] of framed) {
    const lines = linesFor({ headers: leftover, ...(body === undefined ? {} : { body }) });
    t.same([...fields(lines, "content-length"), ...fields(lines, "transfer-encoding")], expected, why);
    t.same([...fields(lines, "connection"), ...fields(lines, "host")], ["Host: orders"], why);
  }
});

test("a method that usually has a body says so when it has none, as endpoints ask for it with 411", async (t) => {
  for (const method of ["POST", "PUT", "PATCH"])
    t.same(fields(linesFor({ method }), "content-length"), ["Content-Length: 0"], method);
  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"])
    t.same(fields(linesFor({ method }), "content-length"), [], method);
});

test("an expectation is passed on until the caller has been told to go on, and only with a body", async (t) => {
  const expecting = (body?: Body): ExchangeSettings => ({
    method: "PUT",
    expectsContinue: true,
    ...(body === undefined ? {} : { body }),
  });
  const arriving = () => new Body({ pause() {}, resume() {}, cancel() {} }, 5);
  t.same(fields(linesFor(expecting(arriving())), "expect"), ["Expect: 100-continue"]);
  const again = fields(linesFor(expecting(arriving()), 2), "expect");
  t.same(again, ["Expect: 100-continue"], "a second attempt has to ask as the first one did");
  t.same(
    fields(linesFor(expecting(Body.of(new Uint8Array(5)))), "expect"),
    [],
    "a body that is here needs no leave",
  );
  const told = exchangeOf(expecting(arriving()));
  told.continued = true;
  t.notMatch(requestHead(told, "orders", 0), /Expect/);
  t.same(fields(linesFor(expecting()), "expect"), []);
  t.same(fields(linesFor({ body: Body.of(new Uint8Array(5)) }), "expect"), []);
});

test("a caller that takes trailers is said to, hop by hop", async (t) => {
  const lines = linesFor({ headers: ["TE", "trailers"] });
  t.same(fields(lines, "te"), ["TE: trailers"]);
  t.same(fields(lines, "connection"), ["Connection: TE"]);
  t.same(fields(linesFor({}), "connection"), []);
});

test("the endpoint is told what is left of the request's time, in heddle's words and in those that the caller used", async (t) => {
  const headers = [
    "X-HEDDLE-Timeout-MS",
    "9",
    "Grpc-Timeout",
    "1H",
    "X-Envoy-Expected-Rq-Timeout-Ms",
    "nonsense",
  ];
  const said = (deadlineMs: number, nowMs: number) => {
    const exchange = exchangeOf({ headers });
    exchange.deadlineMs = deadlineMs;
    const lines = requestHead(exchange, "orders", nowMs).split("\r\n");
    return ["x-heddle-timeout-ms", "grpc-timeout", "x-envoy-expected-rq-timeout-ms"].flatMap((name) =>
      fields(lines, name),
    );
  };
  const told = (ms: number, grpc: string) => [
    `X-Heddle-Timeout-Ms: ${ms}`,
    `Grpc-Timeout: ${grpc}`,
    `X-Envoy-Expected-Rq-Timeout-Ms: ${ms}`,
  ];
  t.same(said(6500, 5000), told(1500, "1500000u"));
  t.same(said(6500.5, 5000), told(1500, "1500500u"), "rounded down, so that nobody waits for longer");
  t.same(said(6500, 5000.5), told(1499, "1499500u"));
  t.same(said(4999, 5000), told(0, "1u"), "and never less than nothing");
  t.same(
    said(Number.POSITIVE_INFINITY, 5000),
    ["Grpc-Timeout: 1H", "X-Envoy-Expected-Rq-Timeout-Ms: nonsense"],
    "without a deadline heddle says nothing, and nobody says it in its name",
  );
});

test("names of the same length as the ones that are treated specially are left alone", async (t) => {
  const headers = [
    "XY",
    "ab",
    "Vix",
    "abc",
    "Hast",
    "abcd",
    "Connectiom",
    "10",
    "X-Request-Ix",
    "12",
    "Content-Lengtx",
    "14",
    "X-Forwarded-Fox",
    "15",
    "X-Forwarded-Hosx",
    "16",
    "Transfer-Encodinx",
    "17",
    "Grpc-Timeoux",
    "12",
    "X-Heddle-Timeout-Mx",
    "19",
    "X-Envoy-Expected-Rq-Timeout-Mx",
    "30",
  ];
  const lines = linesFor({ headers });
  for (let i = 0; i < headers.length; i += 2)
    t.ok(lines.includes(`${headers[i]}: ${headers[i + 1]}`), headers[i]!);
});

// --- the answer

test("an answer goes out with its fields in order and case, its reason, and its way", async (t) => {
  const body = Body.of(new Uint8Array(5));
  const response = { ...responseOf(200, body, ["Set-Cookie", "a=1", "set-cookie", "b=2"]), reason: "Fine" };
  t.equal(
    answerHead(response, "length", true),
    TEXT("HTTP/1.1 200 Fine", "Set-Cookie: a=1", "set-cookie: b=2", "Via: 1.1 heddle", "Content-Length: 5"),
  );
  t.equal(
    answerHead({ ...response, body: unknownLength() }, "chunked", false),
    TEXT(
      "HTTP/1.1 200 Fine",
      "Set-Cookie: a=1",
      "set-cookie: b=2",
      "Via: 1.1 heddle",
      "Transfer-Encoding: chunked",
      "Connection: close",
    ),
  );
});

test("a reason is found for heddle's own answers, and none is invented for others", async (t) => {
  const line = (status: number) => answerHead(responseOf(status), "none", true).split("\r\n")[0];
  t.equal(line(503), "HTTP/1.1 503 Service Unavailable");
  t.equal(line(404), "HTTP/1.1 404 Not Found");
  t.equal(line(299), "HTTP/1.1 299 ");
});

test("the way that the answer took before is kept", async (t) => {
  const lines = answerHead(responseOf(200, Body.empty(), ["Via", "1.0 fred"]), "length", true).split("\r\n");
  const way = fields(lines, "via").map((line) => line.slice("via: ".length));
  t.equal(way.join(", "), "1.0 fred, 1.1 heddle");
});

test("how an answer's body is delimited depends on the request, the status, the length and the caller's version", async (t) => {
  const known = () => Body.of(new Uint8Array(5));
  const cases: [string, ExchangeSettings, number, Body, string][] = [
    ["a known length", {}, 200, known(), "length"],
    ["an empty body", {}, 200, Body.empty(), "length"],
    ["an unknown length", {}, 200, unknownLength(), "chunked"],
    ["an unknown length for HTTP/1.0", { minorVersion: 0 }, 200, unknownLength(), "close"],
    ["a known length for HTTP/1.0", { minorVersion: 0 }, 200, known(), "length"],
    ["HEAD", { method: "HEAD" }, 200, known(), "none"],
    ["HEAD, and an error of ours", { method: "HEAD" }, 503, known(), "none"],
    ["no content", {}, 204, Body.empty(), "none"],
    ["not modified", {}, 304, Body.empty(), "none"],
    ["not found has a body", {}, 404, known(), "length"],
  ];
  for (const [why, settings, status, body, expected] of cases)
    t.equal(answerFraming(exchangeOf(settings), responseOf(status, body)), expected, why);
});

test("where no body follows, its length is information and is kept; elsewhere framing fields are ours", async (t) => {
  const headers = ["Content-Length", "1234", "Transfer-Encoding", "chunked", "Connection", "keep-alive"];
  const head = (framing: "none" | "length" | "close") =>
    answerHead(responseOf(200, Body.of(new Uint8Array(5)), headers), framing, true)
      .split("\r\n")
      .slice(1, -2);
  t.same(head("none"), ["Content-Length: 1234", "Via: 1.1 heddle"]);
  t.same(head("length"), ["Via: 1.1 heddle", "Content-Length: 5"]);
  t.same(head("close"), ["Via: 1.1 heddle"]);
});

test("an interim answer has its status, its reason and its fields, and nothing of the connection", async (t) => {
  t.equal(
    interimHead(103, "Early Hints", ["Link", "</style.css>; rel=preload", "Content-Length", "5"]),
    TEXT("HTTP/1.1 103 Early Hints", "Link: </style.css>; rel=preload"),
  );
  t.equal(interimHead(100, "", []), TEXT("HTTP/1.1 100 "));
});
