/**
 * Messages by the grammar of RFC 9110 and 9112, before anything is done to them. Nearly all are right; what is only
 * nearly right is drawn seldom, so that the message behind it is still read.
 */
import { framedByChunks, framedByLength } from "./bodies.ts";
import type { Dice } from "./chance.ts";

const METHODS = ["GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
const OTHER_METHODS = [
  "QUERY",
  "M-SEARCH",
  "PROPFIND",
  "SOURCE",
  "FOO",
  "get",
  "GETX",
  "PLAY",
  "PRI",
  "CONNECT",
];
const TARGETS = ["/", "/", "/", "/a", "/a?b=c", "/a%20b", "//b", "/../a", "/?"];
const ABSOLUTE = ["http://a", "http://a/", "http://a/b?c", "HTTP://A/b", "http://a?b", "http://a//"];
const ODD_TARGETS = [
  "*",
  "a",
  "/#b",
  "/\xe9",
  "http://b/",
  "http://u@a/",
  "https://a/",
  "http:///",
  "/a b",
  "?",
  "a:1",
];
const ODD_VERSIONS = [
  "HTTP/0.9",
  "HTTP/2.0",
  "HTTP/1.2",
  "HTTP/1.10",
  "HTTP/1",
  "http/1.1",
  "HTTPS/1.1",
  "HTTP/01.1",
];
const HOSTS = ["Host: a", "Host: a", "Host: a", "host:a", "Host: \ta "];
const ODD_HOSTS = ["Host: a:80", "Host: [::1]:8", "Host:", "Host: a b", "Host: u@a", "Host: a, a", "Host: A"];

const FIELDS = [
  "Accept: */*",
  "X-A: b",
  "x-b:  c\t d ",
  "X-A:",
  "Cookie: a=b",
  "Via: 1.1 a",
  "X-A: \xe9\xff",
  "X-Request-Id: 7",
  "X-Forwarded-For: b",
  "Content-Type: a/b",
  "Keep-Alive: timeout=5, max=9",
  "TE: trailers",
];
const CONNECTIONS = [
  "Connection: keep-alive",
  "Connection: close",
  "connection:Close",
  "Connection: keep-alive, x-a",
  "Connection: x-a, x-request-id",
  "Connection: te, close",
  "Proxy-Connection: close",
  "Connection: Upgrade\r\nUpgrade: h2c",
  "Connection: upgrade, close\r\nUpgrade: websocket",
  "Upgrade: h2c",
];

export function request(dice: Dice): string {
  const method = dice.one(dice.chance(0.015) ? OTHER_METHODS : METHODS);
  const version = dice.chance(0.006) ? dice.one(ODD_VERSIONS) : dice.chance(0.06) ? "HTTP/1.0" : "HTTP/1.1";
  const lines = [`${method} ${target(dice, method)} ${version}`];
  if (!dice.chance(version === "HTTP/1.1" ? 0.008 : 0.5))
    lines.push(dice.one(dice.chance(0.05) ? ODD_HOSTS : HOSTS));
  lines.push(...someFields(dice));
  if (dice.chance(0.02)) lines.push(dice.chance(0.2) ? "Expect: a" : "Expect: 100-continue");
  const bodied = method === "POST" || method === "PUT" || method === "PATCH";
  if (!dice.chance(bodied ? 0.9 : 0.1)) return block(lines);
  const chunked = dice.chance(version === "HTTP/1.0" ? 0.02 : 0.5);
  const { fields, body } = chunked ? framedByChunks(dice) : framedByLength(dice);
  return block([...lines, ...fields]) + body;
}

function target(dice: Dice, method: string): string {
  if (method === "OPTIONS" && dice.chance(0.3)) return "*";
  if (dice.chance(0.015)) return dice.one(ODD_TARGETS);
  return dice.one(dice.chance(0.08) ? ABSOLUTE : TARGETS);
}

const STATUSES = ["200 OK", "200 OK", "200 OK", "200", "404 Not Found", "500 ", "301 \xe9\t!", "206 A  B"];
const BODYLESS = ["204 No Content", "304 Not Modified", "204", "304"];
const INTERIM = ["100 Continue", "103 Early Hints", "102", "100", "199 X"];
const ODD_STATUSES = [
  "20 OK",
  "2000 OK",
  "099 X",
  "600 X",
  "101 X",
  "2x0 X",
  "200OK",
  " 200 OK",
  "-20 X",
  "999 X",
];
const ODD_INTERIM_FIELDS = [
  "Content-Length: 0",
  "Content-Length: 3",
  "Transfer-Encoding: chunked",
  "Connection: close",
];

/** The answer to a request of this method, behind up to two interim ones. */
export function response(dice: Dice, method: string): string {
  let before = "";
  if (dice.chance(0.12)) for (let count = 1 + dice.below(2); count > 0; count--) before += interim(dice);
  return before + final(dice, method);
}

function interim(dice: Dice): string {
  const lines = [`HTTP/1.${dice.chance(0.03) ? 0 : 1} ${dice.one(INTERIM)}`];
  if (dice.chance(0.3)) lines.push(dice.one(FIELDS));
  if (dice.chance(0.08)) lines.push(dice.one(ODD_INTERIM_FIELDS));
  return block(lines);
}

function final(dice: Dice, method: string): string {
  const old = dice.chance(0.06);
  const version = dice.chance(0.006) ? dice.one(ODD_VERSIONS) : old ? "HTTP/1.0" : "HTTP/1.1";
  const bodyless = dice.chance(0.12);
  const status = dice.one(dice.chance(0.012) ? ODD_STATUSES : bodyless ? BODYLESS : STATUSES);
  const lines = [`${version} ${status}`, ...someFields(dice)];
  const none = bodyless || method === "HEAD";
  // What a HEAD or a 304 announces does not follow; a 204 must announce nothing.
  if (none && !dice.chance(status.startsWith("204") ? 0.05 : 0.5)) return block(lines);
  const closed = !none && dice.chance(0.15);
  if (closed) return block(lines) + (dice.chance(0.9) ? "hello" : "");
  const { fields, body } = dice.chance(old ? 0.02 : 0.5) ? framedByChunks(dice) : framedByLength(dice);
  return block([...lines, ...fields]) + (none ? "" : body);
}

function someFields(dice: Dice): string[] {
  const lines: string[] = [];
  if (dice.chance(0.28)) for (let count = 1 + dice.below(2); count > 0; count--) lines.push(dice.one(FIELDS));
  if (dice.chance(0.08)) lines.push(dice.one(CONNECTIONS));
  return lines;
}

function block(lines: readonly string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}
