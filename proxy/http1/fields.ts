/**
 * Field lines, read once: what is end-to-end goes into flat pairs as it came, what concerns only this connection
 * is understood here and goes no further.
 *
 * Not "parse all, filter later": which fields end at this hop is a question of the wire format, and a field that
 * is never in the list cannot be forwarded by mistake.
 */
import { type HeaderPairs, isName } from "../../core/index.ts";
import { MessageFault } from "./fault.ts";
import { isBlank } from "./grammar.ts";
import type { HeadBlock } from "./head-block.ts";

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
  upgrade: string | undefined = undefined;
  acceptsTrailers = false;
}

function nameBytes(lowerCaseName: string): Uint8Array {
  return Buffer.from(lowerCaseName, "latin1");
}

const TE = nameBytes("te");
const HOST = nameBytes("host");
const EXPECT = nameBytes("expect");
const UPGRADE = nameBytes("upgrade");
const CONNECTION = nameBytes("connection");
const KEEP_ALIVE = nameBytes("keep-alive");
const CONTENT_LENGTH = nameBytes("content-length");
const PROXY_CONNECTION = nameBytes("proxy-connection");
const TRANSFER_ENCODING = nameBytes("transfer-encoding");

/**
 * Sorts the fields of a block that has been scanned.
 * @throws MessageFault
 */
export function readFields(block: HeadBlock): Fields {
  const fields = new Fields();
  for (let field = 0; field < block.fieldCount; field++) {
    if (!takeHop(fields, block, field)) fields.pairs.push(block.name(field), block.value(field));
  }
  if (fields.connection !== undefined) dropNominated(fields);
  return fields;
}

/**
 * Takes a field that ends at this hop; false for all others.
 *
 * Length first: of the usual fields nearly none has the length of one that concerns this hop.
 */
function takeHop(fields: Fields, block: HeadBlock, field: number): boolean {
  switch (block.nameEnd(field) - block.nameStart(field)) {
    case 2:
      if (!block.isNamed(field, TE)) return false;
      if (/(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(block.value(field))) fields.acceptsTrailers = true;
      return true;
    case 4:
      if (!block.isNamed(field, HOST)) return false;
      if (fields.host !== undefined) throw new MessageFault("repeated_host");
      fields.host = block.value(field);
      return true;
    case 6:
      if (!block.isNamed(field, EXPECT)) return false;
      fields.expect = listed(fields.expect, block.value(field));
      return true;
    case 7:
      if (!block.isNamed(field, UPGRADE)) return false;
      fields.upgrade = listed(fields.upgrade, block.value(field));
      return true;
    case 10:
      if (block.isNamed(field, CONNECTION)) {
        fields.connection = listed(fields.connection, block.value(field));
        return true;
      }
      if (!block.isNamed(field, KEEP_ALIVE)) return false;
      fields.keepAlive = block.value(field);
      return true;
    case 14:
      if (!block.isNamed(field, CONTENT_LENGTH)) return false;
      if (fields.contentLength !== undefined) throw new MessageFault("repeated_content_length");
      fields.contentLength = block.value(field);
      return true;
    case 16:
      return block.isNamed(field, PROXY_CONNECTION);
    case 17:
      if (!block.isNamed(field, TRANSFER_ENCODING)) return false;
      fields.transferEncoding = listed(fields.transferEncoding, block.value(field));
      return true;
    default:
      return false;
  }
}

/** A field that may come in several lines is one list. */
function listed(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before},${value}`;
}

// A caller must not be able to strip what heddle and its peers rely on by naming it in Connection.
const KEPT =
  /^(?:forwarded|x-forwarded-.*|x-real-ip|x-heddle-.*|x-request-id|via|cache-control|authorization|cookie|set-cookie)$/;

/** RFC 9110, 7.6.1: a field named in Connection ends at this hop. One pass over each list, however long they are. */
function dropNominated(fields: Fields): void {
  const plain = fields.connection!;
  if (isName(plain, "close") || isName(plain, "keep-alive")) return;
  const nominated = new Set<string>();
  for (const name of optionsOf(plain)) {
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
  if (isName(connection, "keep-alive")) return false;
  return optionsOf(connection).includes(option);
}

function optionsOf(list: string): string[] {
  return list.toLowerCase().split(",").map(withoutBlanks);
}

/**
 * Not trim(), which takes a non-breaking space for a blank, as nobody else on the wire does; and not a regular expression,
 * which would walk along sixty thousand blanks once for each of them.
 */
function withoutBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}
