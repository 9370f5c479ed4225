/**
 * What the codec costs per message, without a socket: reading a message, and writing the head that goes on.
 */
import { bench, group, summary } from "mitata";
import { Body, Exchange } from "../../core/index.ts";
import { answerHead, requestHead } from "../../proxy/forwarded.ts";
import {
  DEFAULT_LIMITS,
  MessageParser,
  type ParsedRequest,
  type ParsedResponse,
  parseRequestHead,
  parseResponseHead,
} from "../../proxy/http1/index.ts";
import {
  CHUNKED_RESPONSE,
  SMALL_REQUEST,
  SMALL_RESPONSE,
  USUAL_REQUEST,
  USUAL_RESPONSE,
} from "./messages.ts";

let lastRequest: ParsedRequest;
let lastResponse: ParsedResponse;

const requests = new MessageParser<ParsedRequest>(
  (text) => parseRequestHead(text, DEFAULT_LIMITS),
  DEFAULT_LIMITS,
  {
    onHead: (head) => {
      lastRequest = head;
    },
    onData: () => {},
    onEnd: () => {},
  },
);
const responses = new MessageParser<ParsedResponse>(
  (text) => parseResponseHead(text, DEFAULT_LIMITS, "GET"),
  DEFAULT_LIMITS,
  {
    onHead: (head) => {
      lastResponse = head;
    },
    onData: () => {},
    onEnd: () => {},
  },
);

function exchangeOf(bytes: Buffer): Exchange {
  requests.execute(bytes, 0, bytes.length);
  return new Exchange("outbound", "0b9d2c5e", lastRequest, undefined, "127.0.0.1", undefined, undefined, 0);
}

function responseOf(bytes: Buffer) {
  responses.execute(bytes, 0, bytes.length);
  const { status, reason, headers, framing } = lastResponse;
  return { status, reason, headers, body: new Body({ pause() {}, resume() {}, cancel() {} }, framing) };
}

group("codec", () => {
  summary(() => {
    const wire = Buffer.alloc(4096);
    bench("read a small request (31 bytes)", () => requests.execute(SMALL_REQUEST, 0, SMALL_REQUEST.length));
    bench(`read a usual request (${USUAL_REQUEST.length} bytes, 12 fields)`, () =>
      requests.execute(USUAL_REQUEST, 0, USUAL_REQUEST.length),
    );
    bench(`read a small answer (${SMALL_RESPONSE.length} bytes)`, () =>
      responses.execute(SMALL_RESPONSE, 0, SMALL_RESPONSE.length),
    );
    bench(`read a usual answer (${USUAL_RESPONSE.length} bytes, 11 fields)`, () =>
      responses.execute(USUAL_RESPONSE, 0, USUAL_RESPONSE.length),
    );
    bench(`read a chunked answer (${CHUNKED_RESPONSE.length} bytes, 8 chunks)`, () => {
      // Small chunks are moved together where they lie, so each reading needs bytes of its own.
      CHUNKED_RESPONSE.copy(wire);
      return responses.execute(wire, 0, CHUNKED_RESPONSE.length);
    });
    const small = exchangeOf(SMALL_REQUEST);
    const usual = exchangeOf(USUAL_REQUEST);
    // Measured with the copy into bytes: before it, a JavaScript string is only a plan.
    bench("write a small request's head", () => wire.write(requestHead(small, "bench", 0), "latin1"));
    bench("write a usual request's head", () => wire.write(requestHead(usual, "bench", 0), "latin1"));
    const answer = responseOf(USUAL_RESPONSE);
    bench("write a usual answer's head", () => wire.write(answerHead(answer, "length", true), "latin1"));
  });
});
