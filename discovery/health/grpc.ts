/**
 * Whether a gRPC server says that it serves: grpc.health.v1.Health/Check over HTTP/2 without TLS.
 *
 * The two messages are written and read by hand. They have one field each and will not change, while a gRPC library
 * would be the largest dependency of all. The answer is judged when the stream has closed, since gRPC says only
 * in its trailers whether the message is to be believed.
 *
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md and doc/PROTOCOL-HTTP2.md
 */
import type { IncomingHttpHeaders } from "node:http2";
import { type Ask, dial, failed, hostOf, USER_AGENT } from "./ask.ts";
import type { ProbeResult } from "./probe.ts";

/** Far more than a HealthCheckResponse needs. */
const MOST_MESSAGE_BYTES = 4_096;

export function askGrpc(service: string): Ask {
  const question = framed(healthCheckRequest(service));
  return (endpoint, tell) => {
    // Loaded with the first question: node:http2 is of no use to anybody else here.
    const { connect } = process.getBuiltinModule("node:http2");
    const host = hostOf(endpoint);
    // The URL is for the scheme; whom it asks is in what it is given below.
    const session = connect("http://endpoint", {
      createConnection: () => dial(endpoint),
      settings: { enablePush: false },
    });
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      ":authority": host,
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": USER_AGENT,
    });
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const message: Buffer[] = [];
    let messageBytes = 0;
    stream.once("response", (received) => {
      headers = received;
    });
    stream.once("trailers", (received) => {
      trailers = received;
    });
    stream.on("data", (bytes: Buffer) => {
      message.push(bytes);
      messageBytes += bytes.length;
      if (messageBytes > MOST_MESSAGE_BYTES) tell(failed("not a HealthCheckResponse"));
    });
    stream.on("error", (error) => tell(failed(error)));
    session.on("error", (error) => tell(failed(error)));
    stream.once("close", () => tell(judged(headers, trailers, Buffer.concat(message))));
    stream.end(question);
    return () => {
      session.destroy();
      return undefined;
    };
  };
}

/** What an answer says that is complete. */
function judged(
  headers: IncomingHttpHeaders,
  trailers: IncomingHttpHeaders,
  message: Uint8Array,
): ProbeResult {
  const status = headers[":status"];
  if (status === undefined) return failed("closed without an answer");
  if (Number(status) !== 200) return failed(`HTTP ${status}`);
  // An error without a message may come with its status in the head.
  const code = trailers["grpc-status"] ?? headers["grpc-status"];
  if (code === undefined) return failed("no grpc-status");
  if (code !== "0") return failed(GRPC_STATUSES[Number(code)] ?? `grpc-status ${code}`);
  const serving = servingStatus(message);
  if (serving === undefined) return failed("not a HealthCheckResponse");
  const note = SERVING_STATUSES[serving] ?? `status ${serving}`;
  return note === "SERVING" ? { passing: true, note } : failed(note);
}

/** HealthCheckResponse.ServingStatus. */
const SERVING_STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/** `UNIMPLEMENTED` is said by a server without health checks, `NOT_FOUND` by one that does not know the service. */
const GRPC_STATUSES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/** HealthCheckRequest { string service = 1 }; a field with its default value is left out. */
function healthCheckRequest(service: string): Buffer {
  if (service === "") return Buffer.alloc(0);
  const name = Buffer.from(service);
  return Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** A message as it is sent: not compressed, its length, itself. */
function framed(message: Buffer): Buffer {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}

/**
 * HealthCheckResponse { ServingStatus status = 1 } from its frame. Fields that are not known are skipped, as protobuf
 * demands. Undefined when it cannot be read: compressed (nobody offered that), cut off, or something else.
 */
function servingStatus(frame: Uint8Array): number | undefined {
  if (frame.length < 5 || frame[0] !== 0) return undefined;
  const length = new DataView(frame.buffer, frame.byteOffset).getUint32(1);
  if (frame.length !== 5 + length) return undefined;
  let at = 5;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; at < frame.length; scale *= 0x80) {
      const byte = frame[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  let status = 0;
  while (at < frame.length) {
    const tag = readVarint();
    switch (tag % 8) {
      case 0: {
        const value = readVarint();
        if (Number.isNaN(value)) return undefined;
        if (tag === 0x08) status = value;
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const bytes = readVarint();
        at += bytes;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return undefined;
    }
  }
  return at === frame.length ? status : undefined;
}
