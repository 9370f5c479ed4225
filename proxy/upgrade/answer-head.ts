/**
 * The head of an answer that Node has parsed, read once more by our own rules: end-to-end fields only, and a fault for
 * what is ambiguous.
 *
 * Not Node's word for it: what reaches a caller must not depend on which of two parsers has read it.
 */
import type { IncomingMessage } from "node:http";
import { DEFAULT_LIMITS, MessageParser, type ParsedResponse, parseResponseHead } from "../http1/index.ts";

const NOTHING_READ = () => {};

/**
 * @param status what it is to be read as
 * @param method of the request
 * @throws MessageFault
 */
export function readAnswerHead(
  { statusMessage, rawHeaders }: IncomingMessage,
  status: number,
  method: string,
): ParsedResponse {
  let text = `HTTP/1.1 ${String(status).padStart(3, "0")} ${statusMessage ?? ""}\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  const bytes = Buffer.from(`${text}\r\n`, "latin1");
  let head: ParsedResponse | undefined;
  const events = {
    onHead: (found: ParsedResponse) => {
      head = found;
    },
    onData: NOTHING_READ,
    onEnd: NOTHING_READ,
  };
  const read = (block: Parameters<typeof parseResponseHead>[0]) =>
    parseResponseHead(block, DEFAULT_LIMITS, method);
  new MessageParser(read, DEFAULT_LIMITS, events).execute(bytes, 0, bytes.length);
  // The text is a whole head.
  return head!;
}
