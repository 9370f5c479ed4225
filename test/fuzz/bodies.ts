/**
 * How a body is framed, in every way that RFC 9112, 6 knows, and right in most cases: what is refused early shows
 * nothing of how the bytes behind it are read.
 */
import type { Dice } from "./chance.ts";

/** The field lines that announce a body, and the body. */
export interface Framed {
  readonly fields: readonly string[];
  readonly body: string;
}

/** Bytes that could be taken for something else than data. */
const DATA: readonly string[] = [
  "a",
  "hi",
  "abc",
  "hello",
  "\r",
  "\n",
  "\r\n",
  "0\r\n\r\n",
  "\r\n\r\n",
  "\0\xff",
  "5\r\nab",
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "HTTP/1.1 200 OK\r\n\r\n",
];

export function framedByLength(dice: Dice): Framed {
  const body = dice.chance(0.2) ? "" : dice.one(DATA);
  const zeros = dice.chance(0.05) ? "0" : "";
  const name = dice.chance(0.1) ? "content-length" : "Content-Length";
  return { fields: [`${name}:${dice.one(BLANKS)}${zeros}${body.length}`], body };
}

const BLANKS = [" ", " ", " ", "", "\t", "  "];
const CHUNKED = ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "transfer-encoding:CHUNKED "];

export function framedByChunks(dice: Dice): Framed {
  let body = "";
  for (let chunks = dice.below(4); chunks > 0; chunks--) {
    const data = dice.one(DATA);
    body += `${chunkSize(dice, data.length)}${extension(dice)}\r\n${data}\r\n`;
  }
  body += `${dice.chance(0.1) ? "000" : "0"}${extension(dice)}\r\n${trailers(dice)}\r\n`;
  const coding = dice.chance(0.01) ? "Transfer-Encoding: gzip, chunked" : dice.one(CHUNKED);
  return { fields: [coding], body };
}

function chunkSize(dice: Dice, bytes: number): string {
  const digits = bytes.toString(16);
  const written = dice.chance(0.3) ? digits.toUpperCase() : digits;
  return dice.chance(0.1) ? `0${written}` : written;
}

const EXTENSIONS = [";a", ";a=b", ';a="b"', ";a=b;c=d", ";a;b", ';a="b;c"', ';a="\\""'];
const ODD_EXTENSIONS = [";", "; a", ";a=", ";a b", ";a =b", ';a="', ";;", ";\x80", ";=a", ";a\0"];

function extension(dice: Dice): string {
  if (dice.chance(0.8)) return "";
  return dice.one(dice.chance(0.15) ? ODD_EXTENSIONS : EXTENSIONS);
}

const TRAILERS = ["X-Sum: 1", "A:", "a: b ", "Server-Timing: x", "X-Sum:\t\xe9"];
const HOP_TRAILERS = ["TE: trailers", "Keep-Alive: timeout=1", "Upgrade: a"];
const FORBIDDEN_TRAILERS = [
  "Content-Length: 1",
  "Transfer-Encoding: chunked",
  "Host: b",
  "Cookie: a=b",
  "Content-Type: a",
  "X-Forwarded-For: b",
  "Connection: close",
];

function trailers(dice: Dice): string {
  if (dice.chance(0.75)) return "";
  const few = dice.chance(0.05) ? FORBIDDEN_TRAILERS : dice.chance(0.1) ? HOP_TRAILERS : TRAILERS;
  let lines = "";
  for (let count = 1 + dice.below(2); count > 0; count--) lines += `${dice.one(few)}\r\n`;
  return lines;
}
