/**
 * What each setting of a route's fallback and faults is, in one sentence.
 */
import { type Sentences, under } from "./sentences-discovery.ts";

export const ROUTE_EXTRAS: Sentences = {
  fallback: "What the route answers for itself when its upstream cannot; see docs/fallbacks.md.",
  ...under("fallback", {
    on: "After which failures and statuses, when breakers and retries are through with them.",
    methods:
      "For which methods; one that changes something should be told of an error, unless its caller knows better.",
    status: "The status of the answer; without it, only `lastGood` answers.",
    headers: "Its header fields.",
    body: "Its body.",
    lastGood: "The last good answer to the same GET or HEAD comes first, where there is one.",
    "lastGood.maxAge": "How old it may be.",
    "lastGood.maxSize": "How much memory all answers of the route may take together, over all workers.",
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
