/**
 * The door to llhttp inside Node, with the few of its types that are used here: it is untyped, as it is not meant for
 * others. `process.binding` knows it no more, and no public module exports it.
 */
import { createRequire } from "node:module";

export interface Parser {
  [callback: number]: (...given: never[]) => unknown;
  initialize(type: number, resource: object, headBytes: number, lenientFlags: number): void;
  execute(bytes: Buffer): number | ParserError;
  finish(): undefined | ParserError;
}

interface ParserError extends Error {
  readonly code: string;
  readonly reason: string;
}

export type HeadEvent = [
  majorVersion: number,
  minorVersion: number,
  /** Nothing if they have been handed over before, by `kOnHeaders`. */
  fields: string[] | undefined,
  method: number | undefined,
  target: string | undefined,
  status: number | undefined,
  reason: string | undefined,
  upgrade: boolean,
  keepAlive: boolean,
];

type Constant = "REQUEST" | "RESPONSE" | "kLenientNone";
type Callback = "kOnMessageBegin" | "kOnHeaders" | "kOnHeadersComplete" | "kOnBody" | "kOnMessageComplete";

const binding = createRequire(import.meta.url)("node:_http_common") as {
  readonly HTTPParser: Readonly<Record<Constant | Callback, number>> & { new (): Parser };
  readonly methods: readonly string[];
};

export const { HTTPParser } = binding;

/** Far above heddle's limits, which are not what is compared. */
const HEAD_BYTES = 1 << 24;

export function initialize(parser: Parser, type: "REQUEST" | "RESPONSE"): void {
  parser.initialize(HTTPParser[type], {}, HEAD_BYTES, HTTPParser.kLenientNone);
}

/** By the parser's numbers, which have gaps that the list of names has not; so each name is asked for its number. */
export const METHOD_NAMES: ReadonlyMap<number, string> = new Map(
  binding.methods.map((name) => {
    let number = -1;
    const parser = new HTTPParser();
    initialize(parser, "REQUEST");
    parser[HTTPParser.kOnHeadersComplete] = (...[, , , method]: HeadEvent) => {
      number = method ?? -1;
      return 0;
    };
    parser.execute(Buffer.from(`${name} ${name === "CONNECT" ? "a:1" : "/"} HTTP/1.1\r\n\r\n`, "latin1"));
    return [number, name];
  }),
);
