/**
 * The last good answers of a route, bounded by bytes: the one that was not needed for the longest time goes first.
 *
 * A fallback and not a cache: it is asked only when there is no other answer, so what a cache must never get wrong is stricter here
 * than RFC 9111 has it. An answer is kept only if it may be shown to everybody who asks the same question in the same words, and if
 * its sender does not mind that it is shown later. A Map keeps the order of insertion, which is all that this needs of an LRU; a package
 * would bring its own clock.
 */
import {
  type Exchange,
  headerValue,
  isName,
  type LastGoodOptions,
  type ProxyResponse,
} from "../core/index.ts";

export interface GoodAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly storedAtMs: number;
}

/** What an answer takes beside its body and its text. */
const ENTRY_BYTES = 256;

/** RFC 9111, 4.2.4: with the latter three it must not be shown when it is stale; `s-maxage` says the same. */
const NOT_KEPT =
  /(?:^|[\s,])(?:no-store|private|no-cache|must-revalidate|proxy-revalidate|s-maxage)(?:$|[\s,=])/i;
/** Answers that say nothing about what the last good one said: too busy, or a part, or no change. */
const NO_VERDICT: ReadonlySet<number> = new Set([206, 304, 408, 425, 429]);

export class GoodAnswers {
  readonly #answers = new Map<string, { readonly answer: GoodAnswer; readonly bytes: number }>();
  readonly #options: LastGoodOptions;
  #bytes = 0;

  constructor(options: LastGoodOptions) {
    this.#options = options;
  }

  /** All that is kept, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What was answered last, if it is not too old. */
  find(key: string, nowMs: number): GoodAnswer | undefined {
    const found = this.#answers.get(key);
    if (found === undefined) return undefined;
    if (nowMs - found.answer.storedAtMs > this.#options.maxAgeMs) {
      this.forget(key);
      return undefined;
    }
    this.#answers.delete(key);
    this.#answers.set(key, found);
    return found.answer;
  }

  keep(key: string, answer: GoodAnswer): void {
    this.forget(key);
    const text = answer.headers.reduce((sum, part) => sum + part.length, key.length);
    const bytes = ENTRY_BYTES + text + answer.body.length;
    if (bytes > this.#options.maxBytes) return;
    this.#answers.set(key, { answer, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#options.maxBytes) break;
      this.forget(oldest);
    }
  }

  forget(key: string): void {
    const found = this.#answers.get(key);
    if (found === undefined) return;
    this.#answers.delete(key);
    this.#bytes -= found.bytes;
  }
}

/**
 * What makes two requests the same question: method, host, path with query, and the fields by which answers differ. Undefined for those
 * that are nobody's but their caller's.
 */
export function questionKey(exchange: Exchange, vary: readonly string[]): string | undefined {
  const { method, headers } = exchange;
  if (method !== "GET" && method !== "HEAD") return undefined;
  if (exchange.upgrade !== "" || headerValue(headers, "range") !== undefined) return undefined;
  for (const secret of ["authorization", "cookie"])
    if (!vary.includes(secret) && headerValue(headers, secret) !== undefined) return undefined;
  // A line feed is in none of the parts.
  let key = `${method}\n${exchange.authority.toLowerCase()}\n${exchange.target}`;
  for (const name of vary) key += `\n${valuesOf(headers, name)}`;
  return key;
}

/** A field that is there and empty is not one that is not there, and two fields are not one with both values. */
function valuesOf(headers: readonly string[], name: string): string {
  let values = "";
  for (let i = 0; i < headers.length; i += 2) if (isName(headers[i]!, name)) values += `\r${headers[i + 1]!}`;
  return values;
}

/** Whether an answer may be kept, as far as its head tells. */
export function mayBeKept(exchange: Exchange, answer: ProxyResponse, options: LastGoodOptions): boolean {
  const { status, headers, body } = answer;
  if (status < 200 || status > 299 || NO_VERDICT.has(status) || answer.tunnel !== undefined) return false;
  if ((body.length ?? 0) > options.maxBodyBytes || exchange.injected !== "") return false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    if (isName(name, "set-cookie")) return false;
    if (isName(name, "cache-control") && NOT_KEPT.test(value)) return false;
    if (isName(name, "pragma") && /no-cache/i.test(value)) return false;
    if (isName(name, "vary") && !isWithin(value, options.vary)) return false;
  }
  for (let i = 0; i < exchange.headers.length; i += 2)
    if (isName(exchange.headers[i]!, "cache-control") && /no-store/i.test(exchange.headers[i + 1]!))
      return false;
  return true;
}

/** Whether an answer that is not kept makes what was kept before untrue: it is gone, or may not be seen any more. */
export function overrules({ status }: ProxyResponse): boolean {
  return status >= 200 && status < 500 && !NO_VERDICT.has(status);
}

/** `*` is within nothing. */
function isWithin(vary: string, told: readonly string[]): boolean {
  return vary.split(",").every((name) => {
    const wanted = name.trim().toLowerCase();
    return wanted === "" || told.includes(wanted);
  });
}
