/**
 * Messages as they are met in the wild, for the micro benchmarks: the smallest, what browsers and gateways send, and
 * an answer of each kind. The same bytes for every run, so that figures can be compared.
 */
function message(startLine: string, fields: readonly string[], body = ""): Buffer {
  return Buffer.from(`${[startLine, ...fields].join("\r\n")}\r\n\r\n${body}`, "latin1");
}

/** What a load generator sends. */
export const SMALL_REQUEST = message("GET / HTTP/1.1", ["Host: bench"]);

/** What one service sends to another through a gateway: identity, tracing, content negotiation. */
export const USUAL_REQUEST = message("GET /api/v2/orders/8f14e45f?expand=items&limit=50 HTTP/1.1", [
  "Host: orders.internal:8080",
  "User-Agent: okhttp/4.12.0",
  "Accept: application/json",
  "Accept-Encoding: gzip, deflate, br",
  "Authorization: Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJvcmRlcnMifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
  "X-Request-Id: 0b9d2c5e-1f7a-4d3b-9a6c-2e8f5d7c1b3a",
  "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "X-Forwarded-For: 203.0.113.7, 10.4.1.9",
  "X-Forwarded-Proto: https",
  "Cache-Control: no-cache",
  "Cookie: session=2f6d8a0c4e; region=eu-central-1",
  "Connection: keep-alive",
]);

/** The answer of the load test's server. */
export const SMALL_RESPONSE = message(
  "HTTP/1.1 200 OK",
  [
    "Server: nginx/1.22.1",
    "Date: Sat, 21 Nov 2026 12:00:00 GMT",
    "Content-Type: text/plain",
    "Content-Length: 100",
    "Connection: keep-alive",
  ],
  "x".repeat(100),
);

/** JSON from a service behind a framework. */
export const USUAL_RESPONSE = message(
  "HTTP/1.1 200 OK",
  [
    "Date: Sat, 21 Nov 2026 12:00:00 GMT",
    "Content-Type: application/json; charset=utf-8",
    "Vary: Accept-Encoding, Origin",
    'ETag: W/"4c1-9f2b8a7c6d5e4f3a"',
    "Cache-Control: private, max-age=0, must-revalidate",
    "Strict-Transport-Security: max-age=31536000; includeSubDomains",
    "X-Content-Type-Options: nosniff",
    "X-RateLimit-Remaining: 4821",
    "Content-Length: 1217",
    "Keep-Alive: timeout=5",
    "Connection: keep-alive",
  ],
  "x".repeat(1217),
);

/** A streamed answer in eight chunks. */
export const CHUNKED_RESPONSE = message(
  "HTTP/1.1 200 OK",
  ["Content-Type: text/event-stream", "Transfer-Encoding: chunked"],
  `${`80\r\n${"x".repeat(128)}\r\n`.repeat(8)}0\r\n\r\n`,
);
