/**
 * What heddle should hand on of what llhttp read, by the words of docs/http1.md. Nothing of heddle's own code is used.
 */
import type { RawMessage, RawReading } from "./llhttp.ts";
import type { Ending, Message, Reading } from "./reading.ts";

/** @param methodOf see `readByLlhttp` */
export function inTermsOfHeddle(raw: RawReading, methodOf?: (answer: number) => string): Reading {
  let answered = 0;
  const messages = raw.messages.map((message) => {
    if (methodOf === undefined) return requestOf(message);
    return responseOf(message, methodOf(message.status < 200 ? answered : answered++));
  });
  return { messages, ending: endingOf(raw) };
}

function endingOf({ refused, cut }: RawReading): Ending {
  if (refused !== undefined) return { how: "refused", ...refused };
  return { how: cut ? "cut" : "idle" };
}

function requestOf(raw: RawMessage): Message {
  const { method, minorVersion } = raw;
  const { target, authority } = originForm(raw.target, method);
  const start = { method, target, authority: authority ?? valueIn(raw.fields, "host") ?? "", minorVersion };
  const headers = endToEnd(raw.fields);
  const te = (valueIn(raw.fields, "te") ?? "").toLowerCase();
  if (listed(te).includes("trailers")) headers.push("TE", "trailers");
  return { start, headers, interim: false, upgrade: raw.upgrade, ...bodyOf(raw) };
}

function responseOf(raw: RawMessage, method: string): Message {
  const { status, reason } = raw;
  const headers = endToEnd(raw.fields);
  const length = valueIn(raw.fields, "content-length");
  if (length !== undefined && (status === 304 || (method === "HEAD" && status >= 200 && status !== 204)))
    headers.push("Content-Length", length);
  return { start: { status, reason }, headers, interim: status < 200, upgrade: false, ...bodyOf(raw) };
}

function bodyOf({ body, trailers, keepAlive, complete, end }: RawMessage) {
  return { body, trailers: endToEnd(trailers), keepAlive, complete, end };
}

/** Absolute form becomes origin form (RFC 9112, 3.2.2); without a path, that is `*` for OPTIONS (3.2.4). */
export function originForm(target: string, method: string): { target: string; authority?: string } {
  const match = /^http:\/\/([^/?]+)(.*)$/i.exec(target);
  if (match === null) return { target };
  const [, authority, rest] = match as unknown as [string, string, string];
  if (rest === "") return { target: method === "OPTIONS" ? "*" : "/", authority };
  return { target: rest.startsWith("/") ? rest : `/${rest}`, authority };
}

const OF_THIS_HOP =
  /^(te|host|expect|upgrade|connection|keep-alive|content-length|proxy-connection|transfer-encoding)$/;
const RELIED_ON =
  /^(forwarded|x-forwarded-.*|x-real-ip|x-heddle-.*|x-request-id|via|authorization|cookie|set-cookie|cache-control)$/;

/** Without the fields of this hop and those that Connection names, but for those it cannot remove. */
function endToEnd(fields: readonly string[]): string[] {
  const nominated = listed((valueIn(fields, "connection") ?? "").toLowerCase());
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    if (OF_THIS_HOP.test(name) || (nominated.includes(name) && !RELIED_ON.test(name))) continue;
    kept.push(fields[i]!, fields[i + 1]!);
  }
  return kept;
}

/** Several lines of one name are one list (RFC 9110, 5.3). */
function valueIn(fields: readonly string[], name: string): string | undefined {
  const values: string[] = [];
  for (let i = 0; i < fields.length; i += 2)
    if (fields[i]!.toLowerCase() === name) values.push(fields[i + 1]!);
  return values.length === 0 ? undefined : values.join(",");
}

/** White space is SP and HTAB here, and nothing else (RFC 9110, 5.6.3). */
function listed(value: string): string[] {
  return value.split(",").map((item) => item.replace(/^[ \t]+|[ \t]+$/g, ""));
}
