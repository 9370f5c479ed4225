/**
 * Numbers that heddle keeps to and that are no settings: what each does, in one sentence, for docs/defaults.md. The values are read
 * from the code (defaults-page.ts), so that the page says what holds.
 *
 * Those that a user can notice: how long something takes, how much is kept, when something is given up. What only makes an
 * algorithm quick, or is a part of a format, is not here. A test finds times that were forgotten.
 */

/** `ms` and `s` are times, `share` is a part of one. */
export type NumberUnit = "ms" | "s" | "bytes" | "share" | "per second" | "";

interface FixedNumber {
  /** From the root of the project. */
  readonly file: string;
  /** Of the constant there. */
  readonly name: string;
  readonly unit: NumberUnit;
  readonly sentence: string;
}

const of = (file: string, rows: readonly (readonly [string, NumberUnit, string])[]): FixedNumber[] =>
  rows.map(([name, unit, sentence]) => ({ file, name, unit, sentence }));

export const FIXED_NUMBERS: readonly FixedNumber[] = [
  // Requests and connections.
  ...of("proxy/destinations.ts", [
    ["FIRST_WORD_MS", "ms", "How long the first call of a name waits for the first word of discovery."],
    ["PUT_AWAY_MS", "ms", "How often it is looked whether upstreams that nothing leads to have finished."],
  ]),
  ...of("core/body.ts", [
    ["HIGH_WATER_BYTES", "bytes", "How much of a body is held before whoever sends it is paused."],
  ]),
  ...of("proxy/downstream/connection.ts", [
    [
      "LINGER_MS",
      "ms",
      "How long a closing connection listens on, so that its answer is not lost to a reset.",
    ],
  ]),
  ...of("proxy/data-plane.ts", [
    ["LEAVE_MS", "ms", "How long callers of a closed listener may leave their connection unused."],
  ]),
  ...of("proxy/reset.ts", [
    [
      "LOOK_MS",
      "ms",
      "How often it is looked whether a side that is to be reset has got what was said before.",
    ],
  ]),
  ...of("proxy/tcp/endpoint-connection.ts", [
    [
      "KEEP_ALIVE_MS",
      "ms",
      "How long a TCP connection is silent before the kernel asks whether its peer is there.",
    ],
  ]),
  ...of("proxy/tcp/pass-on.ts", [
    [
      "CONNECT_MS",
      "ms",
      "How long a connection to where a stranger was going may take, in transparent mode.",
    ],
    ["IDLE_MS", "ms", "How long such a connection may carry nothing."],
  ]),
  ...of("proxy/http1/limits.ts", [
    ["CHUNK_LINE_BYTES", "bytes", "The longest line of a chunk's size."],
    ["INTERIM_COUNT", "", "The most interim answers (1xx) before a final one."],
  ]),
  ...of("proxy/upstream/keep-alive.ts", [
    [
      "DOUBTFUL_AFTER_MS",
      "ms",
      "A connection that was unused for longer gets no request that must not be sent twice, unless its endpoint has promised a time.",
    ],
  ]),
  ...of("proxy/timer-wheel.ts", [
    ["TICK_MS", "ms", "How exact all time limits are."],
    ["PAUSE_MS", "ms", "So late, time limits are looked at after what has arrived meanwhile."],
  ]),
  ...of("proxy/workers/worker-plane.ts", [
    ["HUNG_MS", "ms", "How long a worker may take to report; then its last report stands for its counts."],
  ]),
  ...of("proxy/workers/worker-planes.ts", [
    ["MOST_REPLACEMENTS", "", "So many workers that are lost within an hour are replaced."],
    ["QUIET_MS", "ms", "While workers drain: between two looks at whether the app still calls, at most."],
  ]),
  ...of("proxy/drain.ts", [
    ["HEARD_MS", "ms", "How long callers are given to hear from the registry that this instance leaves."],
    ["UNUSED_CONNECTIONS_MS", "ms", "How long callers with unused connections are waited for in a drain."],
    ["QUIET_MS", "ms", "The app is taken to be done when it has called nobody for so long."],
    [
      "TUNNELS_SHARE",
      "share",
      "Over which part of the grace that is left callers in tunnels are asked to leave.",
    ],
    [
      "LAST_CALL",
      "share",
      "When the app's own tunnels are asked to leave at the latest, as a part of the grace.",
    ],
  ]),
  // Retries, breakers, outliers, limits.
  ...of("resilience/unheard-trials.ts", [
    [
      "UNHEARD_TRIALS",
      "",
      "So many trials that are answered well, and whose callers leave meanwhile, are a good one.",
    ],
  ]),
  ...of("resilience/shared-changes.ts", [
    ["ENTRIES", "", "How many changes a worker may have missed before it forgets all its last good answers."],
  ]),
  ...of("resilience/retry.ts", [
    ["MOST_RETRY_AFTER_MS", "ms", "The most that a request waits because an endpoint said Retry-After."],
  ]),
  ...of("balancing/latency.ts", [
    ["MOST_HELD_OFF_MS", "ms", "The longest that an endpoint is left alone because it said Retry-After."],
    ["DECAY_MS", "ms", "How long a measured latency keeps 1/e of its say with `peakEwma`."],
    ["IDLE_DECAY_MS", "ms", "The same while nothing is under way at that endpoint."],
    ["FAILURE_PENALTY_MS", "ms", "What a failure is taken to have lasted, at least."],
  ]),
  ...of("resilience/hedge.ts", [
    ["SHARE_WINDOW_MS", "ms", "Over how long the share of hedged requests is counted."],
  ]),
  ...of("proxy/upstream/pool.ts", [
    [
      "MOST_HEARD_OUT",
      "",
      "So many attempts at an endpoint that hedges have overtaken are heard out at a time.",
    ],
  ]),
  ...of("resilience/recent-latency.ts", [
    [
      "SLOWER_SEEN",
      "",
      "So many slower requests are seen before a percentile is believed: p95 needs 100 requests.",
    ],
  ]),
  ...of("resilience/open-time.ts", [
    ["JITTER", "share", "How much longer than asked for a breaker stays open, by chance, at most."],
  ]),
  ...of("resilience/breaker.ts", [
    [
      "MOST_IGNORED",
      "",
      "So many trials that callers give up follow each other; the next waits for `openFor`.",
    ],
    ["LAST_FAILURES", "", "How many failures of a breaker are remembered by kind."],
  ]),
  ...of("proxy/admin/breakers-page.ts", [
    ["USUAL_FOR_MS", "ms", "How long a breaker stays forced unless `for` says otherwise."],
  ]),
  ...of("proxy/upstream/candidates.ts", [
    ["MOST_TRIALS", "share", "The most of all requests that go to endpoints on trial."],
  ]),
  ...of("resilience/outlier-rules.ts", [
    ["BY_CHANCE", "share", "How likely it may be that an endpoint is found an outlier by chance."],
    ["JITTER", "share", "How much longer an ejection lasts, by chance, at most."],
  ]),
  ...of("resilience/outlier-detection.ts", [
    ["MOST_INTERVALS", "", "Over how many intervals requests are gathered where they are few."],
  ]),
  ...of("balancing/slow-start.ts", [
    ["SETTLING_MS", "ms", "Endpoints that come so soon after the first list are not taken for new."],
  ]),
  ...of("resilience/concurrency-limit.ts", [
    ["STANDING", "share", "A queue that has stood for this part of `queueTimeout` lets the newest go first."],
  ]),
  ...of("resilience/adaptive-limit.ts", [
    [
      "MEASURING_SHARE",
      "share",
      "What is let in while the baseline is measured, of what the upstream can do without a queue.",
    ],
    ["BASELINE_SAMPLES", "", "How many latencies make a baseline."],
    ["WINDOW_SAMPLES", "", "A window that has fewer latencies goes on until it has so many."],
    ["JITTER", "share", "By how much the times between measurements differ, at most."],
  ]),
  ...of("resilience/rate-limit.ts", [["SKEW_MS", "ms", "How far apart the clocks of workers may be."]]),
  ...of("proxy/overload.ts", [
    ["LOOK_EVERY_MS", "ms", "How often a sidecar looks how loaded it is."],
    ["USUAL_MS", "ms", "So late timers may be without that being a delay."],
    ["FULL_DELAY", "", "At so many times `eventLoopDelay` nothing is let in."],
  ]),
  ...of("resilience/shedding.ts", [
    ["FALL_PER_SECOND", "share", "How much pressure falls in a second, at most."],
    ["LOOKS", "", "A delay counts when so many looks in a row have found it."],
  ]),
  ...of("proxy/shed.layer.ts", [
    ["RETRY_AFTER_S", "s", "What `Retry-After` says when a sidecar is overloaded."],
  ]),
  ...of("proxy/health-question.layer.ts", [
    ["HEALTH_QUESTIONS", "", "How many health questions at a time are let past all limits, in each worker."],
  ]),
  ...of("config/cross-checks-routes.ts", [
    [
      "LEAST_KEPT_BYTES",
      "bytes",
      "The least that each worker may have for the last good answers of a fallback.",
    ],
  ]),
  ...of("proxy/fault-book.ts", [["MOST_FAULTS", "", "How many faults for testing may run at a time."]]),
  ...of("config/shape-fault.ts", [
    ["USUAL_MS", "ms", "How long a fault for testing lasts of which nothing is said."],
    ["LONGEST_FAULT_MS", "ms", "How long a fault for testing lasts at most."],
  ]),
  ...of("config/shape-breaker.ts", [
    ["OPEN_FOR_MAX_MS", "ms", "What `openForMax` is, where `openFor` is not longer."],
  ]),
  ...of("resilience/slow-body.ts", [
    ["PIECE_MS", "ms", "Between two pieces of an answer that is slow for testing."],
  ]),
  // What peers say of their load.
  ...of("balancing/own-load.ts", [
    ["MAX_AGE_MS", "ms", "How long a latency counts in what peers are told of the app's load."],
    ["FAILURE_MS", "ms", "What a failure is taken to have lasted there, at least."],
  ]),
  ...of("balancing/prequal.ts", [
    ["SUSPICIOUS_MS", "ms", "How long a failure must weigh for an endpoint to be no choice of `prequal`."],
  ]),
  ...of("proxy/upstream/load-probes.ts", [
    ["FRESH_MS", "ms", "What was heard so lately is not asked for again."],
    ["TIMEOUT_MS", "ms", "How long an answer about load may take."],
    ["NO_ANSWER_MS", "ms", "When an endpoint is asked again that did not answer about its load."],
    ["NO_PEER_MS", "ms", "When an endpoint is asked again that is no sidecar."],
  ]),
  // Discovery.
  ...of("discovery/supply.ts", [
    ["FIRST_WORD_MS", "ms", "How long the sources before one that has spoken may take for their first word."],
  ]),
  ...of("proxy/control/control-plane.ts", [
    ["FIRST_WORD_MS", "ms", "How long a start waits for the first word about what is always followed."],
    ["LISTEN_AGAIN_MS", "ms", "When a port is tried again that another process had."],
    ["HEARD_MS", "ms", "How long peers are given to hear of a maintenance."],
  ]),
  ...of("proxy/control/followed-name.ts", [
    ["FIRST_WORD_MS", "ms", "How long new sources of a name may take for their first word."],
    ["CHAIN_MS", "ms", "How long a chain may take before the one that is remembered is used."],
  ]),
  ...of("proxy/control/sidecar-follower.ts", [
    [
      "COPY_AFTER_MS",
      "ms",
      "How long an agent is waited for before its last definition of this sidecar is used.",
    ],
    ["ASK_AGAIN_MS", "ms", "When an agent is asked again that does not answer, or has no such definition."],
  ]),
  ...of("proxy/control/chain-plan.ts", [
    [
      "CONSULS_CONNECT_MS",
      "ms",
      "The connect timeout that Consul says where nobody has; it does not take the place of the file's.",
    ],
  ]),
  ...of("discovery/consul/client.ts", [
    ["CALL_MS", "ms", "How long a call of Consul that does not block may take."],
    ["LARGEST_ANSWER_BYTES", "bytes", "The largest answer of Consul that is read."],
  ]),
  ...of("discovery/consul/values.ts", [
    ["NO_LIMIT_MS", "ms", "What stands for no limit where Consul says 0."],
  ]),
  ...of("discovery/consul/watch.ts", [
    ["POLL_MS", "ms", "How often an endpoint of Consul is asked that does not block."],
    ["BURST", "", "How many answers in a row a watch may get without a pause."],
    ["QUERIES_PER_SECOND", "per second", "How often a watch asks at most after that."],
  ]),
  ...of("discovery/consul/token.ts", [
    ["LOOK_AGAIN_MS", "ms", "How often a file with a token is looked at."],
  ]),
  ...of("discovery/consul/registration.ts", [
    ["LEAVE_WITHIN_MS", "ms", "How long deregistration may take."],
    ["SHOWN_WITHIN_MS", "ms", "How long the registry may take to show what it was told."],
    ["LOOK_AGAIN_MS", "ms", "How often it is looked whether it does."],
    ["HEARD_MS", "ms", "What those who follow the service are given to hear of it."],
  ]),
  ...of("discovery/dns/transport.ts", [
    ["LIMIT_MS", "ms", "How long a resolver may take for an answer."],
    ["ASK_AGAIN_MS", "ms", "When it is asked again over UDP."],
  ]),
  ...of("discovery/dns/source.ts", [
    ["LEAST_REST_MS", "ms", "The shortest pause between two looks at a name."],
    ["JITTER", "share", "By how much the looks of several sidecars differ, of the TTL."],
  ]),
  ...of("discovery/file/source.ts", [
    ["DEFAULT_POLL_MS", "ms", "How often a file of endpoints is looked at where the system does not tell."],
    ["GATHER_MS", "ms", "A file is read when it has not changed for so long."],
    ["READ_AGAIN_MS", "ms", "When a file is read again that could not be believed."],
  ]),
  ...of("discovery/file/look.ts", [["MOST_BYTES", "bytes", "The largest file of endpoints that is read."]]),
  ...of("discovery/health/checks.ts", [
    [
      "FIRST_WITHIN_MS",
      "ms",
      "The first health check comes within this time, or within an interval if that is shorter.",
    ],
  ]),
  ...of("discovery/kubernetes/api.ts", [
    ["SILENCE_MS", "ms", "How long the API server may be silent within an answer."],
    ["TCP_KEEP_ALIVE_MS", "ms", "How often an idle connection to the API server is kept open."],
  ]),
  ...of("discovery/kubernetes/source.ts", [
    ["SHORTEST_WATCH_S", "s", "How long a watch of Kubernetes lasts at least."],
    ["LONGEST_WATCH_S", "s", "How long it lasts at most."],
    ["WATCH_GRACE_MS", "ms", "What the API server may take longer than that."],
  ]),
  // When sources are believed.
  ...of("discovery/outage/crowd.ts", [
    ["SUDDEN_MS", "ms", "Endpoints lost within this time are lost together."],
  ]),
  ...of("discovery/outage/doubts.ts", [
    ["ASK_EVERY_MS", "ms", "Between two rounds of questions to endpoints that a source would take away."],
    ["FAILURES_TO_REFUTE", "", "After so many failures in a row such an endpoint is believed to be gone."],
    ["AT_ONCE", "", "How many of them are asked at once."],
    ["GATHER_MS", "ms", "Their answers within this time are told as one."],
  ]),
  ...of("discovery/outage/guard.ts", [
    ["GATHER_MS", "ms", "Changes of a source within this time are applied as one."],
    ["COPY_AFTER_MS", "ms", "How long a start waits for a source before its copy is used."],
    [
      "FIRST_ANSWER_MS",
      "ms",
      "How long the first word may be held back while those are asked that were there before.",
    ],
    ["CONFIRM_MS", "ms", "How often a source that says nothing new is taken to confirm what it has said."],
  ]),
  ...of("discovery/outage/last-good.ts", [
    ["WRITE_AFTER_MS", "ms", "Changes within this time are written to the copy together."],
    ["CONFIRM_MS", "ms", "How often a list that does not change is confirmed there."],
    ["MOST_FROM_THE_FUTURE_MS", "ms", "A copy that is from further in the future is not used."],
  ]),
  // What is written.
  ...of("telemetry/logger.ts", [
    ["FLUSH_EVERY_MS", "ms", "How long a line of the log waits to be written with others."],
    [
      "MAX_UNWRITTEN_BYTES",
      "bytes",
      "How much is kept of a log that nobody reads, before lines are dropped.",
    ],
  ]),
  ...of("telemetry/request-tally.ts", [
    ["MAX_REQUEST_SERIES", "", "Pairs of status and cause before the overflow series of metrics is used."],
  ]),
];
