import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "tap";
import { Body, type Exchange, ProxyError } from "../../core/index.ts";
import {
  accessLog,
  accessMembers,
  type Counts,
  DURATION_BUCKETS_S,
  MAX_REQUEST_SERIES,
  METRICS,
  type MetricDefinition,
  Metrics,
  metrics,
  OVERFLOW,
  RequestTally,
  requestSeries,
  type UpstreamCounts,
} from "../../telemetry/index.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";

const ENDING = {
  direction: "outbound",
  upstream: "orders",
  route: "",
  status: 200,
  cause: "",
  shadow: "",
  durationMs: 1,
};

// --- counting requests

test("every request is counted once, under its direction, upstream, route, status and cause", async (t) => {
  const tally = new RequestTally();
  const endings = [
    ENDING,
    ENDING,
    { ...ENDING, status: 404 },
    { ...ENDING, status: 503, cause: "overflow" },
    { ...ENDING, status: 503, cause: "breaker_open" },
    { ...ENDING, status: 503, cause: "overflow" },
    { ...ENDING, route: "canary" },
    { ...ENDING, upstream: "search" },
    { ...ENDING, direction: "inbound" },
  ];
  for (const ending of endings) tally.record(ending);
  const counted = [...requestSeries(tally.counted())].map(
    ({ direction, upstream, route, status, cause, count }) =>
      [direction, upstream, route, status, cause, count].join("|"),
  );
  t.same(counted.sort(), [
    "inbound|orders||200||1",
    "outbound|orders|canary|200||1",
    "outbound|orders||200||2",
    "outbound|orders||404||1",
    "outbound|orders||503|breaker_open|1",
    "outbound|orders||503|overflow|2",
    "outbound|search||200||1",
  ]);
});

test("the number of series is bounded; what exceeds it is counted as overflow, and the sum stays right", async (t) => {
  const tally = new RequestTally();
  const requests = MAX_REQUEST_SERIES + 500;
  for (let i = 0; i < requests; i++)
    tally.record({ ...ENDING, upstream: `u${i % 50}`, status: 500, cause: `c${i}` });
  tally.record({ ...ENDING, upstream: "u0", status: 500, cause: "c0" });
  tally.record({ ...ENDING, upstream: "u1", status: 200 });
  const series = [...requestSeries(tally.counted())];
  t.equal(series.length, MAX_REQUEST_SERIES + 1);
  t.equal(
    series.reduce((sum, { count }) => sum + count, 0),
    requests + 2,
  );
  t.equal(series.find(({ cause }) => cause === "c0")?.count, 2, "a series that is there goes on counting");
  t.same(series.at(-1), {
    direction: OVERFLOW,
    upstream: OVERFLOW,
    route: OVERFLOW,
    status: OVERFLOW,
    cause: OVERFLOW,
    count: 501,
  });
});

test("a duration falls into the first bucket that it does not exceed", async (t) => {
  const tally = new RequestTally();
  const durations = [0, 0.5, 0.500001, 1, 30_000, 30_001];
  for (const durationMs of durations) tally.record({ ...ENDING, durationMs });
  const [scope] = [...tally.counted().scopes];
  const filled = Object.fromEntries(
    [...scope!.buckets].map((count, i) => [DURATION_BUCKETS_S[i] ?? "more", count]),
  );
  t.match(filled, { 0.0005: 2, 0.001: 2, 30: 1, more: 1 });
  t.equal(scope!.count, durations.length);
  t.ok(Math.abs(scope!.sumMs - 60_003.000001) < 1e-6);
});

// --- the exposition

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Exposition {
  readonly types: ReadonlyMap<string, string>;
  readonly help: ReadonlyMap<string, string>;
  readonly samples: readonly Sample[];
}

/** Prometheus' text format, read strictly: a line that is not understood is an error. */
function readExposition(text: string): Exposition {
  const types = new Map<string, string>();
  const help = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (TYPE|HELP) ([a-zA-Z_:][\w:]*) (.*)$/.exec(line);
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.e+-]+|\+Inf|NaN)$/.exec(line);
    if (comment !== null) {
      const known = comment[1] === "TYPE" ? types : help;
      if (known.has(comment[2]!)) throw new Error(`said twice: ${line}`);
      known.set(comment[2]!, comment[3]!);
    } else if (sample !== null) {
      const labels: Record<string, string> = {};
      for (const [, label, value] of (sample[2] ?? "").matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g))
        labels[label!] = value!;
      samples.push({ name: sample[1]!, labels, value: Number(sample[3]) });
    } else {
      throw new Error(`not understood: ${line}`);
    }
  }
  return { types, help, samples };
}

const COUNTS: UpstreamCounts = {
  upstream: "orders",
  attempts: new Map([
    ["success", 7],
    ["upstream_reset", 2],
  ]),
  retriesRefused: new Map([["budget", 3]]),
  hedges: new Map([["won", 19]]),
  breakerOpened: 4,
  ejections: new Map([["successRate", 17]]),
  outliersSpared: 18,
  connectionsOpened: 5,
  resent: 8,
  breakers: { closed: 2, open: 1, halfOpen: 0 },
  endpoints: { available: 2, refused: 1, ejected: 1 },
  connections: { connecting: 1, busy: 2, idle: 3 },
  limit: 18,
  held: 23,
  pending: 6,
};

const NOW: Counts = {
  requests: [],
  upstreams: [COUNTS],
  routeBreakers: [{ route: "search", state: "open", opened: 20 }],
  inFlight: { inbound: 1, outbound: 2 },
  connections: { inbound: 3, outbound: 4 },
  faults: { abort: 3 },
  fallbacks: { "stale breaker_open the cart": 2 },
  intercepted: { "outbound http mesh": 7 },
  tcpBytes: { "caller outbound db": 3, "endpoint outbound db": 5 },
  connectionsRefused: { inbound: 0, outbound: 11 },
  discovery: { watches: 12, answered: 13, failed: 14, sources: { current: 15, silent: 16 } },
  overload: {
    pressure: { event_loop: 0.25, memory: 0.5 },
    shed: { critical: 0, default: 19, sheddable: 20 },
  },
  droppedLogLines: 9,
  timers: 21,
  resources: { Timeout: 22 },
  retriesEnabled: true,
};

/** Metrics over tallies, and over counts that are read at each scrape. */
function exposing(tallies: readonly RequestTally[], counts: () => Partial<Counts> = () => ({})): Metrics {
  return new Metrics(async () => ({
    ...NOW,
    requests: tallies.map((tally) => tally.counted()),
    ...counts(),
  }));
}

test("the exposition has the metrics and labels of the table, and no others", async (t) => {
  const tally = new RequestTally();
  const exposed = exposing([tally]);
  tally.record({ ...ENDING, shadow: "overflow" });
  t.match(exposed.contentType, /^text\/plain; version=0\.0\.4/);
  const { types, help, samples } = readExposition(await exposed.exposition());
  t.same([...types.keys()].sort(), Object.keys(METRICS).sort());
  for (const [name, { type, labels, help: meaning }] of Object.entries(METRICS) as [
    string,
    MetricDefinition,
  ][]) {
    t.equal(types.get(name), type);
    t.equal(help.get(name), meaning);
    const parts = type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
    for (const part of parts) {
      const own = samples.filter((sample) => sample.name === part);
      t.ok(own.length > 0, `${part} has a value`);
      const expected = part.endsWith("_bucket") ? [...labels, "le"] : [...labels];
      for (const sample of own) t.same(Object.keys(sample.labels).sort(), expected.sort(), part);
    }
  }
});

test("each value is the one of its source, at each scrape anew", async (t) => {
  let pending = 6;
  const tally = new RequestTally();
  const exposed = exposing([tally], () => ({
    upstreams: [
      { ...COUNTS, pending },
      { ...COUNTS, upstream: "b" },
    ],
  }));
  tally.record(ENDING);
  await exposed.exposition();
  pending = 1;
  tally.record(ENDING);
  const { samples } = readExposition(await exposed.exposition());
  const value = (name: string, labels: Readonly<Record<string, string>> = {}) => {
    const found = samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([label, as]) => sample.labels[label] === as),
    );
    t.equal(found.length, 1, `one series of ${name}`);
    return found[0]!.value;
  };
  const upstream = "orders";
  t.same(
    [
      value("heddle_requests_total", { direction: "outbound", upstream, status: "200", cause: "" }),
      value("heddle_attempts_total", { upstream, outcome: "upstream_reset" }),
      value("heddle_retries_refused_total", { upstream, reason: "budget" }),
      value("heddle_breaker_state", { upstream, state: "open" }),
      value("heddle_breaker_opened_total", { upstream }),
      value("heddle_endpoints", { upstream, state: "refused" }),
      value("heddle_pool_connections", { upstream, state: "idle" }),
      value("heddle_pool_opened_total", { upstream }),
      value("heddle_pool_resent_total", { upstream }),
      value("heddle_pending_requests", { upstream }),
      value("heddle_pending_requests", { upstream: "b" }),
      value("heddle_requests_in_flight", { direction: "inbound" }),
      value("heddle_connections", { direction: "outbound" }),
      value("heddle_connections_refused_total", { direction: "outbound" }),
      value("heddle_concurrency_limit", { upstream }),
      value("heddle_overload_pressure", { resource: "memory" }),
      value("heddle_shed_total", { criticality: "sheddable" }),
      value("heddle_discovery_watches"),
      value("heddle_discovery_questions_total", { outcome: "answered" }),
      value("heddle_discovery_questions_total", { outcome: "failed" }),
      value("heddle_discovery_sources", { state: "silent" }),
      value("heddle_log_lines_dropped_total"),
      value("heddle_timers"),
      value("heddle_permits_held", { upstream }),
      value("nodejs_active_resources", { type: "Timeout" }),
    ],
    [2, 2, 3, 1, 4, 1, 3, 5, 8, 1, 6, 1, 4, 11, 18, 0.5, 20, 12, 13, 14, 16, 9, 21, 23, 22],
  );
  t.ok(value("process_cpu_seconds_total") > 0);
  t.ok(value("process_resident_memory_bytes") > 1e6);
});

test("a service that calls itself has two upstreams of one name, and they add up", async (t) => {
  const exposed = exposing([], () => ({ upstreams: [COUNTS, COUNTS] }));
  const { samples } = readExposition(await exposed.exposition());
  for (const [name, expected] of [
    ["heddle_breaker_opened_total", 8],
    ["heddle_pending_requests", 12],
  ] as const)
    t.same(
      samples.filter((sample) => sample.name === name).map(({ value }) => value),
      [expected],
      name,
    );
});

test("the duration histogram is cumulative up to +Inf, which is the count", async (t) => {
  const tally = new RequestTally();
  const exposed = exposing([tally]);
  for (const durationMs of [0.4, 3, 4, 70, 20_000, 90_000]) tally.record({ ...ENDING, durationMs });
  tally.record({ ...ENDING, route: "canary", durationMs: 7 });
  const { samples } = readExposition(await exposed.exposition());
  const name = "heddle_request_duration_seconds";
  const of = (part: string) =>
    samples.filter((sample) => sample.name === name + part && sample.labels["route"] === "");
  const buckets = of("_bucket");
  t.same(
    buckets.map(({ labels }) => labels["le"]),
    [...DURATION_BUCKETS_S.map(String), "+Inf"],
  );
  t.same(
    buckets.map(({ value }) => value),
    [1, 1, 1, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 6],
  );
  t.equal(of("_count")[0]!.value, 6);
  t.ok(Math.abs(of("_sum")[0]!.value - 110.0774) < 1e-9);
});

test("what several workers have counted is added up, scope by scope", async (t) => {
  const tallies = [new RequestTally(), new RequestTally()];
  for (const [i, tally] of tallies.entries()) {
    tally.record({ ...ENDING, durationMs: 3 });
    tally.record({ ...ENDING, durationMs: 7, route: `only-${i}` });
  }
  const { samples } = readExposition(await exposing(tallies).exposition());
  const values = (name: string, route: string) =>
    samples
      .filter((sample) => sample.name === name && sample.labels["route"] === route)
      .map(({ value }) => value);
  t.same(values("heddle_requests_total", ""), [2]);
  t.same(values("heddle_request_duration_seconds_count", ""), [2]);
  t.same(values("heddle_request_duration_seconds_sum", ""), [0.006]);
  t.same(values("heddle_requests_total", "only-1"), [1]);
});

test("names that are odd are escaped and not lost", async (t) => {
  const tally = new RequestTally();
  const exposed = exposing([tally]);
  tally.record({ ...ENDING, route: 'a "quoted" \\ name\nin two lines' });
  const { samples } = readExposition(await exposed.exposition());
  const routes = samples
    .filter(({ name }) => name === "heddle_requests_total")
    .map(({ labels }) => labels["route"]);
  t.same(routes, ['a \\"quoted\\" \\\\ name\\nin two lines']);
});

test("a request is counted when it is settled and not before, with what it ended as", async (t) => {
  const tally = new RequestTally();
  const handle = metrics(tally).wrap(async () => responseOf());
  const exchange = exchangeOf({ nowMs: 100 });
  await handle(exchange);
  t.same([...requestSeries(tally.counted())], []);
  exchange.upstream = "orders";
  exchange.status = 200;
  exchange.blame(new ProxyError("upstream_reset", "lost half-way"));
  exchange.settle("failure", 350);
  t.match(
    [...requestSeries(tally.counted())],
    [{ upstream: "orders", status: "200", cause: "upstream_reset", count: 1 }],
  );
  t.equal([...tally.counted().scopes][0]!.sumMs, 250);
});

// --- the access log

/** An exchange as it is when a GET has been answered well. */
function answered(settings: ExchangeSettings = {}): Exchange {
  const exchange = exchangeOf({ target: "/items/7?token=secret", nowMs: 1000, ...settings });
  exchange.upstream = "orders";
  exchange.beginAttempt("10.0.0.1:8080");
  exchange.status = 200;
  exchange.responseBytes = 512;
  exchange.suspend("response", 1001, () => {});
  exchange.resume(1021.5);
  exchange.suspend("transfer", 1022, () => {});
  return exchange;
}

function recordOf(exchange: Exchange): Record<string, unknown> {
  return JSON.parse(`{${accessMembers(exchange)}}`);
}

test("one record says what was asked, who answered and where the time went, and leaves the query out", async (t) => {
  const exchange = answered();
  exchange.settle("success", 1030.123456);
  const record = recordOf(exchange);
  t.strictSame(record, {
    direction: "outbound",
    method: "GET",
    authority: "orders",
    path: "/items/7",
    status: 200,
    durationMs: 30.123,
    upstreamMs: 20.5,
    transferMs: 8.123,
    proxyMs: 1.5,
    upstream: "orders",
    endpoint: "10.0.0.1:8080",
    attempts: 1,
    requestBytes: 0,
    responseBytes: 512,
    requestId: "request-1",
    client: "127.0.0.1",
  });
  t.notMatch(JSON.stringify(record), /secret|token/);
});

test("a record is JSON whatever stands in the request, and its times are exact to the microsecond", async (t) => {
  const strange = 'quote " backslash \\ control \u0001 high \u00e9 line \n end';
  const exchange = exchangeOf({ authority: strange, target: `/${strange}?secret`, nowMs: 0 });
  exchange.route = strange;
  exchange.settle("success", 1.0004);
  t.match(recordOf(exchange), { authority: strange, path: `/${strange}`, route: strange, durationMs: 1 });
  for (const [ms, written] of [
    [0, 0],
    [0.0004, 0],
    [0.0006, 0.001],
    [0.05, 0.05],
    [0.9996, 1],
    [12.34, 12.34],
    [86_400_000.001, 86_400_000.001],
  ] as const) {
    const timed = exchangeOf({ nowMs: 0 });
    timed.settle("success", ms);
    t.equal(recordOf(timed)["durationMs"], written);
  }
});

test("every wait has its own field, and the proxy's own time is what is left of the whole", async (t) => {
  const exchange = exchangeOf({ nowMs: 0 });
  let nowMs = 0;
  for (const [i, wait] of (
    ["queue", "connection", "response", "backoff", "transfer", "layer", "discovery"] as const
  ).entries()) {
    nowMs += 1;
    exchange.suspend(wait, nowMs, () => {});
    nowMs += 10 * (i + 1);
    exchange.resume(nowMs);
  }
  exchange.settle("success", nowMs + 0.25);
  t.match(recordOf(exchange), {
    durationMs: 287.25,
    queueMs: 10,
    connectMs: 20,
    upstreamMs: 30,
    backoffMs: 40,
    transferMs: 50,
    layerMs: 60,
    discoveryMs: 70,
    proxyMs: 7.25,
  });
});

test("what is not a plain success is logged with its cause, the attempts and why there were no more", async (t) => {
  const body = Body.of(new Uint8Array(33));
  const exchange = answered({ method: "POST", direction: "inbound", body });
  exchange.route = "canary";
  exchange.beginAttempt("10.0.0.2:8080");
  exchange.retryRefused = "budget";
  exchange.status = 502;
  exchange.blame(new ProxyError("bad_response", "the answer is malformed", { detail: "bare_line_feed" }));
  exchange.settle("failure", 1050);
  t.match(recordOf(exchange), {
    direction: "inbound",
    method: "POST",
    cause: "bad_response",
    detail: "bare_line_feed",
    reason: "the answer is malformed",
    route: "canary",
    endpoint: "10.0.0.2:8080",
    attempts: 2,
    triedBefore: ["10.0.0.1:8080"],
    retryRefused: "budget",
    requestBytes: 33,
  });
});

test("an upstream's own failing status has a cause, and no reason, as heddle knows none", async (t) => {
  const exchange = answered();
  exchange.status = 503;
  // As the accepting connection notes it.
  exchange.cause = "upstream_status";
  exchange.settle("failure", 1050);
  const record = recordOf(exchange);
  t.equal(record["cause"], "upstream_status");
  t.notOk("reason" in record, "an empty text says nothing");
  t.notOk("detail" in record);
});

test("a record is written once, when the request is settled", async (t) => {
  const records: string[] = [];
  const handle = accessLog((members) => records.push(members)).wrap(async () => responseOf());
  const exchange = exchangeOf();
  await handle(exchange);
  t.equal(records.length, 0);
  exchange.settle("success", 5);
  exchange.settle("success", 6);
  t.equal(records.length, 1);
});

// --- the process's log

/** Runs a script with `log` at hand in a process of its own; its standard output, line by line. */
async function linesOf(script: string): Promise<Record<string, unknown>[]> {
  const door = new URL("../../telemetry/index.ts", import.meta.url).href;
  const source = `import { processLog } from ${JSON.stringify(door)}; const log = processLog("info");\n${script}`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", source], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

test("the log is one JSON line per record, by level, whole when it has been flushed, and the access log has no level", async (t) => {
  const lines = await linesOf(`
    log.log.info({ port: 1 }, "ready");
    log.log.debug({}, "not at this level");
    log.level = "error";
    log.log.info({}, "not any more");
    log.writeAccess('"status":200');
    for (let i = 0; i < 200; i++) log.log.error({ i }, "many");
    await log.flush();
    process.exit(log.droppedLines());
  `);
  t.match(lines[0], { level: "info", time: /^\d{4}-\d\d-\d\dT.*Z$/, msg: "ready", port: 1 });
  t.match(lines[1], { level: "info", msg: "request", status: 200 });
  t.same(
    lines.slice(2).map(({ i }) => i),
    Array.from({ length: 200 }, (_, i) => i),
  );
});
