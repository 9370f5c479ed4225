/**
 * Field lines, read once: what is end-to-end goes into flat pairs as it came, what concerns only this connection
 * is understood here and goes no further.
 *
 * Not "parse all, filter later": which fields end at this hop is a question of the wire format, and a field that
 * is never in the list cannot be forwarded by mistake.
 */
import { type HeaderPairs, isName } from "../../core/index.ts";
import { MessageFault } from "./fault.ts";
import { isToken } from "./grammar.ts";

/** What the fields of one message say about the connection and the framing. */
export class Fields {
  /** End-to-end fields, name, value, name, value, in order and case as they came. */
  readonly pairs: HeaderPairs = [];
  host: string | undefined = undefined;
  contentLength: string | undefined = undefined;
  transferEncoding: string | undefined = undefined;
  connection: string | undefined = undefined;
  expect: string | undefined = undefined;
  keepAlive: string | undefined = undefined;
  acceptsTrailers = false;
}

const TAB = 9;
const SPACE = 32;

/**
 * Reads field lines from `text`, which must have passed `assertCleanBlock` and end in CRLF, from `start` on.
 * @throws MessageFault
 */
export function readFields(text: string, start: number, maxFields: number): Fields {
  const fields = new Fields();
  let position = start;
  let count = 0;
  while (position < text.length) {
    if (++count > maxFields) throw new MessageFault("too_many_fields");
    const lineEnd = text.indexOf("\r\n", position);
    const colon = text.indexOf(":", position);
    if (colon === -1 || colon > lineEnd) throw new MessageFault(lineFault(text, position, lineEnd));
    if (!isToken(text, position, colon)) throw new MessageFault(lineFault(text, position, colon));
    let valueStart = colon + 1;
    while (valueStart < lineEnd && isBlank(text.charCodeAt(valueStart))) valueStart++;
    let valueEnd = lineEnd;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--;
    take(fields, text.slice(position, colon), text.slice(valueStart, valueEnd));
    position = lineEnd + 2;
  }
  if (fields.connection !== undefined) dropNominated(fields);
  return fields;
}

/** Length first: of the usual fields nearly none has the length of one that concerns this hop. */
function take(fields: Fields, name: string, value: string): void {
  switch (name.length) {
    case 2:
      if (isName(name, "te")) {
        if (/(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(value)) fields.acceptsTrailers = true;
        return;
      }
      break;
    case 4:
      if (isName(name, "host")) {
        if (fields.host !== undefined) throw new MessageFault("repeated_host");
        fields.host = value;
        return;
      }
      break;
    case 6:
      if (isName(name, "expect")) {
        fields.expect = fields.expect === undefined ? value : `${fields.expect}, ${value}`;
        return;
      }
      break;
    case 7:
      if (isName(name, "upgrade")) return;
      break;
    case 10:
      if (isName(name, "connection")) {
        fields.connection = fields.connection === undefined ? value : `${fields.connection},${value}`;
        return;
      }
      if (isName(name, "keep-alive")) {
        fields.keepAlive = value;
        return;
      }
      break;
    case 14:
      if (isName(name, "content-length")) {
        if (fields.contentLength !== undefined) throw new MessageFault("repeated_content_length");
        fields.contentLength = value;
        return;
      }
      break;
    case 16:
      if (isName(name, "proxy-connection")) return;
      break;
    case 17:
      if (isName(name, "transfer-encoding")) {
        fields.transferEncoding =
          fields.transferEncoding === undefined ? value : `${fields.transferEncoding},${value}`;
        return;
      }
      break;
  }
  fields.pairs.push(name, value);
}

// A caller must not be able to strip what heddle and its peers rely on by naming it in Connection.
const KEPT =
  /^(?:x-forwarded-.*|x-heddle-.*|x-request-id|via|cache-control|authorization|cookie|set-cookie)$/;

/** RFC 9110, 7.6.1: a field named in Connection ends at this hop. One pass over each list, however long they are. */
function dropNominated(fields: Fields): void {
  const plain = fields.connection!;
  if (isName(plain, "close") || isName(plain, "keep-alive")) return;
  const nominated = new Set<string>();
  for (const option of plain.toLowerCase().split(",")) {
    const name = option.trim();
    if (name !== "" && !KEPT.test(name)) nominated.add(name);
  }
  const { pairs } = fields;
  let kept = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    if (nominated.has(pairs[i]!.toLowerCase())) continue;
    pairs[kept] = pairs[i]!;
    pairs[kept + 1] = pairs[i + 1]!;
    kept += 2;
  }
  pairs.length = kept;
}

/** Whether Connection lists this option. */
export function hasConnectionOption(connection: string | undefined, option: string): boolean {
  if (connection === undefined) return false;
  if (isName(connection, option)) return true;
  return connection
    .toLowerCase()
    .split(",")
    .some((listed) => listed.trim() === option);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

function lineFault(text: string, start: number, end: number) {
  if (isBlank(text.charCodeAt(start))) return "folded_line";
  const colon = text.charAt(end) === ":";
  if (colon && end > start && isBlank(text.charCodeAt(end - 1))) return "space_before_colon";
  return colon ? "malformed_field_name" : "missing_colon";
}
