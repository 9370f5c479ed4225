/**
 * The last good answers of a route, bounded by bytes: the one that was not needed for the longest time goes first.
 *
 * A fallback and not a cache: it is asked only when there is no other answer, so what a cache must never get wrong is stricter here
 * than RFC 9111 has it. An answer is kept only if it may be shown to everybody who asks the same question in the same words, and if
 * its sender does not mind that it is shown later. A Map keeps the order of insertion, which is all that this needs of an LRU; a package
 * would bring its own clock.
 *
 * Each worker keeps its own, and all of them hear of what one has learned (shared-changes.ts). For that a place and a question have a mark:
 * what they are known by to others, or their own text where there are no others.
 */
import { type Exchange, isName, type LastGoodOptions, type ProxyResponse } from "../core/index.ts";
import type { Question } from "./question.ts";
import { SharedChanges } from "./shared-changes.ts";

export interface GoodAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** When its head came. */
  readonly storedAtMs: number;
}

/** What an answer takes beside its body and its text, and what each part of its head does: measured, and rounded up. */
const ENTRY_BYTES = 1024;
const PART_BYTES = 48;

/** RFC 9111, 4.2.4: with the latter three it must not be shown when it is stale; `s-maxage` says the same. */
const NOT_KEPT =
  /(?:^|[\s,])(?:no-store|private|no-cache|must-revalidate|proxy-revalidate|s-maxage)(?:$|[\s,=])/i;
/** Answers that say nothing about what the last good one said: too busy, or a part, or no change. */
const NO_VERDICT: ReadonlySet<number> = new Set([206, 304, 408, 425, 429]);
/** There is nothing there any more, in whatever form it is asked for. */
const GONE: ReadonlySet<number> = new Set([404, 410]);

/** The requests to one place that are under way together. */
interface UnderWay {
  requests: number;
  /** What they get may be older than what has been learned since. */
  overtaken: boolean;
}

/** A request whose answer may be kept, from its beginning to its end. */
export interface Asking {
  readonly question: Question;
  /** The mark of its place. */
  readonly place: string;
  readonly underWay: UnderWay;
  /** What its answer may take in memory while it streams. */
  reservedBytes: number;
}

interface Kept {
  readonly answer: GoodAnswer;
  /** The marks of its place and of its question. */
  readonly place: string;
  readonly form: string;
  readonly bytes: number;
}

export class GoodAnswers {
  readonly #answers = new Map<string, Kept>();
  /** The keys of what is kept, by the marks of its place and of its question. */
  readonly #forms = new Map<string, Map<string, string>>();
  /** By the mark of their place. */
  readonly #underWay = new Map<string, UnderWay>();
  readonly #options: LastGoodOptions;
  /** Undefined where nobody else keeps the same answers. */
  readonly #others: SharedChanges | undefined;
  #bytes = 0;
  #reservedBytes = 0;

  constructor(options: LastGoodOptions) {
    this.#options = options;
    const { changes } = options;
    this.#others =
      changes === undefined
        ? undefined
        : new SharedChanges(changes, {
            changed: (place, form) => this.#changed(place, form),
            lostTrack: () => this.#forgetAll(),
          });
  }

  /** All that is kept, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What was answered last, if it is not too old. */
  find({ key }: Question, nowMs: number): GoodAnswer | undefined {
    this.#others?.readOn();
    const found = this.#answers.get(key);
    if (found === undefined) return undefined;
    if (nowMs - found.answer.storedAtMs > this.#options.maxAgeMs) {
      this.#forget(key);
      return undefined;
    }
    this.#answers.delete(key);
    this.#answers.set(key, found);
    return found.answer;
  }

  /** Somebody asks. To be ended by `end`. */
  begin(question: Question): Asking {
    // What is known by now does not overtake it.
    this.#others?.readOn();
    const place = this.#markOf(question.place);
    let underWay = this.#underWay.get(place);
    if (underWay === undefined) {
      underWay = { requests: 0, overtaken: false };
      this.#underWay.set(place, underWay);
    }
    underWay.requests++;
    return { question, place, underWay, reservedBytes: 0 };
  }

  /** Room to take an answer down in while it streams; as much as what is kept may take, so that slow callers do not hold more. */
  reserve(asking: Asking, bytes: number): boolean {
    if (this.#reservedBytes + bytes > this.#options.maxBytes) return false;
    this.#reservedBytes += bytes;
    asking.reservedBytes += bytes;
    return true;
  }

  /** @param answer undefined where there is none to be kept */
  end(asking: Asking, answer?: GoodAnswer): void {
    const { question, place, underWay } = asking;
    // First, while it can be found among those under way.
    if (answer !== undefined) this.#others?.readOn();
    this.#reservedBytes -= asking.reservedBytes;
    asking.reservedBytes = 0;
    if (--underWay.requests === 0 && this.#underWay.get(place) === underWay) this.#underWay.delete(place);
    if (answer !== undefined && !underWay.overtaken) this.keep(question, answer);
  }

  keep(question: Question, answer: GoodAnswer): void {
    const { key } = question;
    const before = this.#answers.get(key);
    if (before !== undefined && before.answer.storedAtMs > answer.storedAtMs) return;
    this.#forget(key);
    const named = question.place.length + key.length;
    const text = answer.headers.reduce((sum, part) => sum + part.length + PART_BYTES, named);
    const bytes = ENTRY_BYTES + text + answer.body.length;
    if (bytes > this.#options.maxBytes) return;
    const place = this.#markOf(question.place);
    const form = this.#markOf(key);
    this.#answers.set(key, { answer, place, form, bytes });
    const forms = this.#forms.get(place);
    if (forms === undefined) this.#forms.set(place, new Map([[form, key]]));
    else forms.set(form, key);
    this.#bytes += bytes;
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#options.maxBytes) break;
      this.#forget(oldest);
    }
  }

  /** A later answer to the same question is none that may be shown. @param status what it said */
  overrule({ place, key }: Question, status: number): void {
    if (GONE.has(status)) {
      this.forgetPlace(place);
    } else {
      this.#changed(this.#markOf(place), this.#markOf(key));
      this.#others?.tell(place, key);
    }
  }

  /** Nothing that is known of a place may be true any more, nor what is on its way from there. */
  forgetPlace(place: string): void {
    this.#changed(this.#markOf(place), undefined);
    this.#others?.tell(place);
  }

  #markOf(text: string): string {
    return this.#others === undefined ? text : this.#others.markOf(text);
  }

  /** @param form undefined for all of a place */
  #changed(place: string, form: string | undefined): void {
    const forms = this.#forms.get(place);
    for (const key of form === undefined ? [...(forms?.values() ?? [])] : [forms?.get(form)])
      if (key !== undefined) this.#forget(key);
    const underWay = this.#underWay.get(place);
    if (underWay === undefined) return;
    underWay.overtaken = true;
    this.#underWay.delete(place);
  }

  #forgetAll(): void {
    this.#answers.clear();
    this.#forms.clear();
    this.#bytes = 0;
    for (const underWay of this.#underWay.values()) underWay.overtaken = true;
    this.#underWay.clear();
  }

  #forget(key: string): void {
    const found = this.#answers.get(key);
    if (found === undefined) return;
    this.#answers.delete(key);
    this.#bytes -= found.bytes;
    const { place, form } = found;
    const forms = this.#forms.get(place)!;
    forms.delete(form);
    if (forms.size === 0) this.#forms.delete(place);
  }
}

/** Whether an answer may be kept, as far as its head tells. */
export function mayBeKept(exchange: Exchange, answer: ProxyResponse, options: LastGoodOptions): boolean {
  const { status, headers, body } = answer;
  if (status < 200 || status > 299 || NO_VERDICT.has(status) || answer.tunnel !== undefined) return false;
  // It ended with its connection, so nobody can tell the whole from a part.
  if (answer.untilClose === true || isStandIn(headers)) return false;
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
export function overrules({ status, headers }: ProxyResponse): boolean {
  return status >= 200 && status < 500 && !NO_VERDICT.has(status) && !isStandIn(headers);
}

/** Whether another sidecar has answered in place of its upstream, or made its answer a test. */
function isStandIn(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2)
    if (isName(headers[i]!, "x-heddle-fallback") || isName(headers[i]!, "x-heddle-fault")) return true;
  return false;
}

/** `*` is within nothing. */
function isWithin(vary: string, told: readonly string[]): boolean {
  return vary.split(",").every((name) => {
    const wanted = name.trim().toLowerCase();
    return wanted === "" || told.includes(wanted);
  });
}
