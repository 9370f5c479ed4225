/**
 * Why a message was refused. Each reason is one decision of docs/http1.md, with one sentence and the error code
 * that a caller sees when the faulty message was a request. A faulty response is always `bad_response`.
 */
import type { ErrorCode } from "../../core/index.ts";

const REASONS = {
  bare_carriage_return: ["bad_request", "a CR that is not followed by LF"],
  bare_line_feed: ["bad_request", "a LF that does not follow a CR"],
  control_character: ["bad_request", "a control character in the head"],
  empty_start_line: ["bad_request", "more than one empty line before a message"],
  malformed_request_line: ["bad_request", "a request line that is not `method SP target SP version`"],
  malformed_status_line: ["bad_request", "a status line that is not `version SP 3 digits SP reason`"],
  malformed_method: ["bad_request", "a method with a character that is not allowed in a token"],
  malformed_target: ["bad_request", "a request target that is not in a form that its method allows"],
  unsupported_version: ["version_not_supported", "a version other than HTTP/1.0 and HTTP/1.1"],
  malformed_version: ["bad_request", "a version that is not `HTTP/digit.digit`"],
  connect_method: ["not_implemented", "CONNECT, which would make an open relay"],
  folded_line: ["bad_request", "a field continued on the next line (obs-fold)"],
  space_before_colon: ["bad_request", "white space between a field name and its colon"],
  malformed_field_name: [
    "bad_request",
    "a field name that is empty or has a character not allowed in a token",
  ],
  missing_colon: ["bad_request", "a field line without a colon"],
  missing_host: ["bad_request", "an HTTP/1.1 request without Host"],
  repeated_host: ["bad_request", "more than one Host"],
  malformed_host: ["bad_request", "a Host that is not a name or address with an optional port"],
  conflicting_host: ["bad_request", "a Host that differs from the target's authority"],
  repeated_content_length: ["bad_request", "more than one Content-Length"],
  malformed_content_length: ["bad_request", "a Content-Length that is not a plain decimal number"],
  length_and_transfer_encoding: ["bad_request", "Content-Length together with Transfer-Encoding"],
  transfer_encoding_in_http10: ["bad_request", "Transfer-Encoding in an HTTP/1.0 message"],
  malformed_transfer_encoding: ["bad_request", "a Transfer-Encoding that does not end in one chunked"],
  unsupported_transfer_encoding: ["not_implemented", "a transfer coding other than chunked"],
  unknown_expectation: ["expectation_failed", "an Expect other than 100-continue"],
  malformed_chunk_size: ["bad_request", "a chunk size that is not a plain hexadecimal number"],
  malformed_chunk_extension: ["bad_request", "a chunk extension with a character that is not allowed"],
  malformed_chunk_end: ["bad_request", "chunk data that is not followed by CRLF"],
  chunk_line_too_long: ["bad_request", "a chunk-size line longer than allowed"],
  forbidden_trailer: ["bad_request", "a trailer field that belongs in the head"],
  start_line_too_long: ["uri_too_long", "a request line longer than allowed"],
  head_too_large: ["headers_too_large", "a head or trailers larger than allowed"],
  too_many_fields: ["headers_too_large", "more fields than allowed"],
  body_forbidden: ["bad_request", "a body or Transfer-Encoding where the status allows none"],
  too_many_interims: ["bad_request", "more interim answers than any use has"],
  unexpected_switch: ["bad_request", "101 Switching Protocols that nobody asked for"],
} as const satisfies Record<string, readonly [ErrorCode, string]>;

export type FaultReason = keyof typeof REASONS;

export const FAULT_REASONS: Readonly<Record<FaultReason, readonly [ErrorCode, string]>> = REASONS;

/** Thrown by the codec and caught by the connection that feeds it; never crosses into a layer. */
export class MessageFault extends Error {
  readonly reason: FaultReason;

  constructor(reason: FaultReason) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(REASONS[reason][1]);
    Error.stackTraceLimit = limit;
    this.name = "MessageFault";
    this.reason = reason;
  }

  /** What the caller is told when the faulty message was its request. */
  get requestCode(): ErrorCode {
    return REASONS[this.reason][0];
  }
}
