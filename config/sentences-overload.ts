/**
 * The sentences of limits, and of the sidecar's own overload.
 */
import { type Sentences, under } from "./sentences-discovery.ts";

export const LIMITS: Sentences = {
  "": "How much at the same time; what does not fit is answered with 503 before any work is done.",
  connections: "Connections, over all endpoints together.",
  pending: "Requests that may wait for their turn, and as many for a connection.",
  requests: "Requests under way, until the last byte of their answer.",
  queueTimeout: "How long a request may wait for its turn.",
  mode: "`shadow` lets all through and counts what `requests`, `pending` and `queueTimeout` would have refused.",
  adaptive: "Finds out by latency how many requests are enough, up to `requests`; see docs/overload.md.",
  ...under("adaptive", {
    enabled: "Whether it is found out.",
    minimum: "How many are let through at least.",
    tolerance: "How much longer requests may take than when nobody waits.",
    window: "For how long latencies are collected before the limit is changed.",
    percentile: "Which of the latencies counts.",
    measureEvery: "How often it is measured anew how long requests take when nobody waits.",
  }),
};

export const OVERLOAD: Sentences = {
  overload: "When this sidecar itself is overloaded and refuses requests; see docs/overload.md.",
  ...under("overload", {
    enabled: "Whether it does.",
    eventLoopDelay: "From which delay of the event loop on, if it lasts; three times as much refuses all.",
    memory: "From which share of its memory on; all of it refuses all.",
    memoryLimit: "How much memory it has; that of its control group unless told otherwise.",
  }),
};
