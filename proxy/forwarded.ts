/**
 * The heads that heddle writes: the request as the endpoint gets it, the answer as the caller gets it.
 *
 * Pure text. Names keep their case and order; what a proxy must add (RFC 9110, 7.6.3 and the X-Forwarded
 * convention) is merged where a field of that name stands already, so that nothing is said twice.
 */
import { type Exchange, isName, type ProxyResponse } from "../core/index.ts";
import { ENVOY_TIMEOUT_FIELD, GRPC_TIMEOUT_FIELD, grpcTimeout, TIMEOUT_FIELD } from "../resilience/index.ts";
import { fieldLines, reasonPhrase } from "./http1/index.ts";

const VIA = "1.1 heddle";
const ANTICIPATES_BODY = /^(?:POST|PUT|PATCH)$/;

/**
 * Request line and fields for one attempt, with the empty line that ends them.
 * @param nowMs on the clock of the exchange's deadline: the endpoint is told how much of it is left
 */
export function requestHead(exchange: Exchange, upstreamName: string, nowMs: number): string {
  const { headers, body, deadlineMs } = exchange;
  // While a body arrives there is none yet, unless the caller has said so.
  const leftMs = deadlineMs === Number.POSITIVE_INFINITY ? -1 : Math.max(0, deadlineMs - nowMs);
  let lines = `${exchange.method} ${exchange.target} HTTP/1.1\r\nHost: ${exchange.authority || upstreamName}\r\n`;
  let forwardedFor = "";
  let via = "";
  let hasHost = false;
  let hasProto = false;
  let acceptsTrailers = false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    switch (name.length) {
      case 2:
        if (isName(name, "te")) acceptsTrailers = true;
        break;
      case 3:
        if (isName(name, "via")) {
          via += `${value}, `;
          continue;
        }
        break;
      case 4:
        if (isName(name, "host")) continue;
        break;
      case 10:
        if (isName(name, "connection")) continue;
        break;
      case 12:
        if (isName(name, "x-request-id")) continue;
        if (leftMs >= 0 && isName(name, GRPC_TIMEOUT_FIELD)) {
          lines += `${name}: ${grpcTimeout(leftMs)}\r\n`;
          continue;
        }
        break;
      case 14:
        if (isName(name, "content-length")) continue;
        break;
      case 15:
        if (isName(name, "x-forwarded-for")) {
          forwardedFor += `${value}, `;
          continue;
        }
        break;
      case 16:
        if (isName(name, "x-forwarded-host")) hasHost = true;
        break;
      case 17:
        if (isName(name, "transfer-encoding")) continue;
        if (isName(name, "x-forwarded-proto")) hasProto = true;
        break;
      case 19:
        if (isName(name, TIMEOUT_FIELD)) continue;
        break;
      case 30:
        if (leftMs >= 0 && isName(name, ENVOY_TIMEOUT_FIELD)) {
          lines += `${name}: ${Math.floor(leftMs)}\r\n`;
          continue;
        }
        break;
    }
    lines += `${name}: ${value}\r\n`;
  }
  lines += `X-Request-Id: ${exchange.requestId}\r\nX-Forwarded-For: ${forwardedFor}${exchange.clientAddress}\r\n`;
  if (!hasProto) lines += "X-Forwarded-Proto: http\r\n";
  if (!hasHost && exchange.authority !== "") lines += `X-Forwarded-Host: ${exchange.authority}\r\n`;
  if (leftMs >= 0) lines += timeoutLine(Math.floor(leftMs));
  lines += `Via: ${via}1.${exchange.minorVersion} heddle\r\n`;
  if (acceptsTrailers) lines += "Connection: TE\r\n";
  if (body !== undefined) {
    lines +=
      body.length === undefined ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${body.length}\r\n`;
    // Until the caller has been told to go on, an endpoint must be asked to say so: nobody else will. A body that is here
    // needs no leave.
    if (exchange.expectsContinue && !exchange.continued && !body.complete)
      lines += "Expect: 100-continue\r\n";
  } else if (ANTICIPATES_BODY.test(exchange.method)) {
    // RFC 9110, 8.6: without it some servers answer 411.
    lines += "Content-Length: 0\r\n";
  }
  return `${lines}\r\n`;
}

let lastLeftMs = -1;
let lastTimeoutLine = "";

/** Nearly all requests of an upstream go out with the same time left, so the last line is kept: printing a number is dear. */
function timeoutLine(leftMs: number): string {
  if (leftMs !== lastLeftMs) {
    lastLeftMs = leftMs;
    lastTimeoutLine = `X-Heddle-Timeout-Ms: ${leftMs}\r\n`;
  }
  return lastTimeoutLine;
}

/** How the body of an answer is delimited towards the caller. */
export type AnswerFraming = "none" | "length" | "chunked" | "close" | "tunnel";

export function answerFraming(exchange: Exchange, response: ProxyResponse): AnswerFraming {
  const { status, body } = response;
  if (response.tunnel !== undefined) return "tunnel";
  if (exchange.method === "HEAD" || status === 204 || status === 304) return "none";
  if (body.length !== undefined) return "length";
  return exchange.minorVersion === 1 ? "chunked" : "close";
}

/** Status line and fields of an answer, with the empty line that ends them. */
export function answerHead(response: ProxyResponse, framing: AnswerFraming, keepAlive: boolean): string {
  const { status, reason, headers, body } = response;
  let lines = `HTTP/1.1 ${status} ${reason || reasonPhrase(status)}\r\n`;
  lines += fieldLines(headers, framing === "none");
  lines += `Via: ${VIA}\r\n`;
  if (framing === "length") lines += `Content-Length: ${body.length}\r\n`;
  else if (framing === "chunked") lines += "Transfer-Encoding: chunked\r\n";
  if (framing === "tunnel") lines += `Connection: Upgrade\r\nUpgrade: ${response.tunnel!.protocol}\r\n`;
  else if (!keepAlive) lines += "Connection: close\r\n";
  return `${lines}\r\n`;
}

/** An interim (1xx) answer. */
export function interimHead(status: number, reason: string, headers: readonly string[]): string {
  return `HTTP/1.1 ${status} ${reason}\r\n${fieldLines(headers, false)}\r\n`;
}
