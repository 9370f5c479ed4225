/**
 * Answers in place of an upstream that cannot: with the last good answer to the same question, or with what the route says.
 *
 * Outside of all that may fail further in, as it is for what is left when breakers have refused and retries are used up; inside of telemetry, which
 * notes the failure all the same. A good answer is taken down while it streams: its body remembers what passes, and it is kept when
 * the caller has got the last byte, so nobody waits for it.
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
} from "../core/index.ts";
import type { FallbackKind, FallbackTally } from "./fallback.ts";
import { type GoodAnswer, GoodAnswers, mayBeKept, overrules, questionKey } from "./good-answers.ts";

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
  function instead(exchange: Exchange, key: string | undefined): ProxyResponse | undefined {
    const nowMs = clock.now();
    const stale = key === undefined ? undefined : good?.find(key, nowMs);
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

  function answered(exchange: Exchange, key: string | undefined, response: ProxyResponse): ProxyResponse {
    // A body that has failed is a connection to be reset.
    const said = causes.has(response.status) && !response.body.failed ? instead(exchange, key) : undefined;
    if (said !== undefined) {
      response.body.cancel(new ProxyError("upstream_reset", "the answer was discarded for a fallback"));
      if (exchange.cause === "") exchange.cause = "upstream_status";
      tally.record(exchange);
      return said;
    }
    if (key !== undefined && good !== undefined) takeDown(exchange, key, response, good, lastGood!);
    return response;
  }

  function failed(exchange: Exchange, key: string | undefined, thrown: unknown): ProxyResponse {
    const failure = asProxyError(thrown);
    const said = causes.has(failure.code) ? instead(exchange, key) : undefined;
    if (said === undefined) throw failure;
    exchange.blame(failure);
    tally.record(exchange);
    return said;
  }

  return {
    name: "fallback",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (!options.methods.includes(exchange.method)) return next(exchange);
        // Now, as layers further in may change the request.
        const key = lastGood === undefined ? undefined : questionKey(exchange, lastGood.vary);
        return called(next, exchange).then(
          (response) => answered(exchange, key, response),
          (thrown) => failed(exchange, key, thrown),
        );
      };
    },
  };
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
  key: string,
  response: ProxyResponse,
  good: GoodAnswers,
  options: LastGoodOptions,
): void {
  if (!mayBeKept(exchange, response, options)) {
    if (overrules(response) && exchange.injected === "") good.forget(key);
    return;
  }
  // Now: layers further out may change the fields.
  const headers = [...response.headers];
  const { status, reason, body } = response;
  body.remember(options.maxBodyBytes);
  exchange.onSettled((settled: Exchange, outcome: Outcome) => {
    if (outcome !== "success") return;
    const pieces = exchange.method === "HEAD" ? [] : body.remembered;
    if (pieces === undefined) good.forget(key);
    else good.keep(key, { status, reason, headers, body: joined(pieces), storedAtMs: settled.settledAtMs });
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
