/**
 * What each setting of rate limits, fallbacks and faults is, in one sentence: of a route, of an upstream, and of the way in.
 */
import { type Sentences, under } from "./sentences-discovery.ts";

export const POLICY: Sentences = {
  rateLimits:
    "How fast requests may come; what comes faster is refused with 429. All of the list must let a request through. See docs/resilience.md.",
  ...under("rateLimits[]", {
    name: "What it is called in fields of answers and in the access log.",
    requests: "How many requests in the time of `per`.",
    per: "In which time; they are let through evenly, not at the turn of a window.",
    burst: "How many may come at once after a pause.",
    by: "What has a limit of its own; without it there is one for all requests together.",
    "by.header": "Each value of this header field; requests without it share one limit.",
    "by.caller": "`address`: each caller's address, of IPv6 each network of 64 bits.",
    maxKeys: "How many callers are told apart at a time; with more, those that have come least start anew.",
    mode: "`shadow` counts what would be refused and lets it through.",
    fields: "`all` tells callers what is left with every answer, not only when they are refused.",
  }),
  fallback: "What is answered in place of an upstream that cannot; see docs/fallbacks.md.",
  ...under("fallback", {
    on: "After which failures and statuses, when breakers and retries are through with them.",
    methods:
      "For which methods; one that changes something should be told of an error, unless its caller knows better.",
    status: "The status of the answer; without it, only `lastGood` answers.",
    headers: "Its header fields.",
    body: "Its body.",
    lastGood: "The last good answer to the same GET or HEAD comes first, where there is one.",
    "lastGood.maxAge": "How old it may be.",
    "lastGood.maxSize":
      "How much memory all answers may take together that are kept here, over all workers; at least 64KiB for each.",
    "lastGood.maxBody": "Larger answers are not kept.",
    "lastGood.vary":
      "The request's fields by which answers are told apart; nothing is kept of requests with authorization, cookie or others that say who calls, unless they are here.",
  }),
  faults: "Faults for testing, from the start on; see docs/faults.md.",
  ...under("faults[]", {
    kind: "Whether requests are held back, refused, cut off, or answered slowly.",
    delay: "How long requests are held back before they are sent, for `delay`.",
    status: "What they are answered with, for `abort`.",
    perSecond: "How much of the answer's body comes in a second, for `slow`.",
    share: "The share of the requests that are hit.",
    match: "Only requests with a certain header field are hit.",
    "match.header": "The name of the field.",
    "match.value": "What it must say; anything unless told.",
    for: "How long the fault lasts from the start.",
    until: "When it ends, and 24h after the start at the latest.",
  }),
};

/** Of the same, defaults that are no plain value. */
export const POLICY_DEFAULTS: Sentences = {
  "rateLimits[].name": "both numbers, as in `100-per-1s`",
  "rateLimits[].burst": "`requests`",
  "faults[].status": "`503`",
  "faults[].for": "`10m`, without `until`",
};
