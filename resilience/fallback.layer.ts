/**
 * Answers in place of an upstream that cannot: with the last good answer to the same question, or with what the route says.
 *
 * Outside of all that may fail further in, as it is for what is left when breakers have refused and retries are used up;
 * inside of telemetry, which notes the failure all the same. A good answer is taken down while it streams: its body
 * remembers what passes, and it is kept when the caller has got the last byte, so nobody waits for it. What came to be
 * known meanwhile is worth more: an answer on its way when its place was changed, or was gone, is not kept.
 */
import {
  asProxyError,
  Body,
  type Clock,
  called,
  type Exchange,
  type FallbackPolicy,
  type Handler,
  isName,
  type LastGoodOptions,
  type Layer,
  type Outcome,
  ProxyError,
  type ProxyResponse,
  watch,
} from "../core/index.ts";
import type { FallbackKind, FallbackTally } from "./fallback.ts";
import { type Asking, type GoodAnswer, GoodAnswers, mayBeKept, overrules } from "./good-answers.ts";
import { changesNothing, placeOf, type Question, questionOf } from "./question.ts";

const FALLBACK_HEADER = "X-Heddle-Fallback";

export interface FallbackParts {
  readonly clock: Clock;
  readonly tally: FallbackTally;
}

export function fallback({ clock, tally }: FallbackParts, options: FallbackPolicy): Layer {
  const { lastGood } = options;
  const causes = new Set<string | number>(options.on);
  const good = lastGood === undefined ? undefined : new GoodAnswers(lastGood);
  const body = new TextEncoder().encode(options.answer?.body);

  /** What there is to say instead; undefined when there is nothing, and the failure stands. */
  function instead(exchange: Exchange, question: Question | undefined): ProxyResponse | undefined {
    const nowMs = clock.now();
    const stale = question === undefined ? undefined : good?.find(question, nowMs);
    if (stale !== undefined) return marked(exchange, "stale", staleAnswer(stale, nowMs));
    if (options.answer === undefined) return undefined;
    const { status, headers } = options.answer;
    const said = { status, reason: "", headers: [...headers], body: Body.of(body) };
    return marked(exchange, "static", said);
  }

  function marked(exchange: Exchange, kind: FallbackKind, answer: ProxyResponse): ProxyResponse {
    exchange.fallback = kind;
    answer.headers.push(FALLBACK_HEADER, kind);
    return answer;
  }

  function answered(exchange: Exchange, asking: Asking | undefined, response: ProxyResponse): ProxyResponse {
    // A body that has failed is a connection to be reset.
    const mayReplace = causes.has(response.status) && !response.body.failed;
    const said = mayReplace ? instead(exchange, asking?.question) : undefined;
    if (said !== undefined) {
      response.body.cancel(new ProxyError("upstream_reset", "the answer was discarded for a fallback"));
      if (exchange.cause === "") exchange.cause = "upstream_status";
      tally.record(exchange);
      if (asking !== undefined) good?.end(asking);
      return said;
    }
    if (asking !== undefined) takeDown(exchange, asking, response, good!, lastGood!, clock.now());
    return response;
  }

  function failed(exchange: Exchange, asking: Asking | undefined, thrown: unknown): ProxyResponse {
    if (asking !== undefined) good?.end(asking);
    const failure = asProxyError(thrown);
    const said = causes.has(failure.code) ? instead(exchange, asking?.question) : undefined;
    if (said === undefined) throw failure;
    exchange.blame(failure);
    tally.record(exchange);
    return said;
  }

  return {
    name: "fallback",
    wrap(next: Handler): Handler {
      const handle: Handler = (exchange) => {
        if (!options.methods.includes(exchange.method)) return next(exchange);
        // Now, as layers further in may change the request.
        const question = lastGood === undefined ? undefined : questionOf(exchange, lastGood.vary);
        const asking = question === undefined ? undefined : good?.begin(question);
        return called(next, exchange).then(
          (response) => answered(exchange, asking, response),
          (thrown) => failed(exchange, asking, thrown),
        );
      };
      if (good === undefined) return handle;
      return (exchange) => (changesNothing(exchange.method) ? handle(exchange) : changing(handle, exchange));
    },
  };

  /** RFC 9111, 4.4: where something was changed, what was known before is not true any more. */
  function changing(handle: Handler, exchange: Exchange): Promise<ProxyResponse> {
    const place = placeOf(exchange);
    return watch(
      handle,
      exchange,
      ({ status }) => {
        if (status >= 200 && status < 400 && exchange.fallback === "") good?.forgetPlace(place);
      },
      () => {},
    );
  }
}

function staleAnswer(
  { status, reason, headers, body, storedAtMs }: GoodAnswer,
  nowMs: number,
): ProxyResponse {
  let age = Math.floor((nowMs - storedAtMs) / 1000);
  const fresh: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (isName(headers[i]!, "age")) age += Number.parseInt(headers[i + 1]!, 10) || 0;
    else fresh.push(headers[i]!, headers[i + 1]!);
  }
  fresh.push("Age", String(age));
  return { status, reason, headers: fresh, body: Body.of(body) };
}

/** Keeps the answer when it has been handed over as a whole, if it may be kept; else it may overrule the one before. */
function takeDown(
  exchange: Exchange,
  asking: Asking,
  response: ProxyResponse,
  good: GoodAnswers,
  options: LastGoodOptions,
  nowMs: number,
): void {
  const { question } = asking;
  const { status, reason, body } = response;
  if (!mayBeKept(exchange, response, options)) {
    if (overrules(response) && exchange.injected === "") good.overrule(question, status);
    good.end(asking);
    return;
  }
  const isHead = exchange.method === "HEAD";
  // A worker's part of the whole may be less than one answer may have.
  const mostBytes = Math.min(options.maxBodyBytes, options.maxBytes);
  // What has arrived is known; of an answer that does not say its length, the most that would be kept.
  const bytes = body.complete ? body.pushedBytes : (body.length ?? mostBytes);
  if (bytes > mostBytes) good.overrule(question, status);
  if (bytes > mostBytes || !good.reserve(asking, isHead ? 0 : bytes)) {
    good.end(asking);
    return;
  }
  // Now: layers further out may change the fields.
  const headers = [...response.headers];
  body.remember(mostBytes);
  exchange.onSettled((_, outcome: Outcome) => {
    const pieces = isHead ? [] : body.remembered;
    if (outcome !== "success") good.end(asking);
    else if (pieces !== undefined)
      good.end(asking, { status, reason, headers, body: joined(pieces), storedAtMs: nowMs });
    else {
      good.overrule(question, status);
      good.end(asking);
    }
    body.forget();
  });
}

/** In memory of its own: a piece may be a small part of a large buffer that would be kept with it. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
