/**
 * What each setting is, in one sentence: shown by editors (through the JSON Schema) and in docs/configuration.md.
 *
 * Not in the shape itself, which would no longer fit in the head. A test compares both ways, so that a setting
 * without a sentence fails, and a sentence without a setting.
 */
import { DISCOVERY_SENTENCES, type Sentences, SUPPLY_SENTENCES, under } from "./sentences-discovery.ts";
import { HEALTH } from "./sentences-health.ts";
import { LIMITS, OVERLOAD } from "./sentences-overload.ts";
import { POLICY, POLICY_DEFAULTS } from "./sentences-routes.ts";

const LISTENER: Sentences = {
  listen: "Where to listen.",
  headTimeout: "How long a caller may take for a request's head, and for the first byte of a connection.",
  bodyTimeout: "How long a caller may pause while it sends a request's body or reads its answer.",
  keepAlive: "How long a caller's connection may stay unused between two requests.",
  maxHead: "How large a request's line and header fields may be together.",
  maxFields: "How many header fields a request may have.",
  maxConnections: "How many callers may be connected at a time; further ones are hung up on.",
};

const TIMEOUTS: Sentences = {
  "": "How long to wait for what.",
  connect: "Until a connection with an endpoint is made.",
  shadowRequest: "A shorter `request` that is tried: what it would have ended is counted, and nothing ends.",
  shadowAttempt: "A shorter `attempt` that is tried in the same way.",
  attempt: "From the last byte of the request sent to the first of the answer, for each attempt.",
  request: "For the whole request with all its attempts and waits, until the head of the answer.",
  idle: "Between two pieces of an answer's body.",
  tunnelIdle: "How long a connection that has switched protocols, or is TCP, may carry nothing, either way.",
};

const UPGRADES =
  "The protocols that a request may switch to, such as websocket; any other Upgrade is ignored, and the request answered as if it had none.";

const RETRIES: Sentences = {
  "": "When a request is sent again; what may have been processed only if its method is idempotent or it has an Idempotency-Key.",
  attempts:
    "How many attempts may follow the first; 0 turns retries off, and nothing that was sent is sent again.",
  on: "The failures after which another attempt is made; without `reset`, nothing that was sent on a connection that is then lost is sent again.",
  backoff: "How long to wait before another attempt: a random time up to a limit that grows with each.",
  "backoff.base": "The limit of the first wait.",
  "backoff.max": "The most that the limit grows to.",
  budget: "Bounds all retries together to a share of the requests, so that they cannot multiply an outage.",
  "budget.ratio": "Retries allowed for each request.",
  "budget.minPerSecond":
    "Retries per second that are allowed regardless, so that a quiet caller can retry at all.",
  "budget.window": "For how long a request counts.",
  requeues:
    "When nothing of a request could be sent, it goes to another endpoint at once; counted and bounded apart from retries.",
  "requeues.attempts":
    "How often a request that could not be sent goes elsewhere; as `attempts` unless told otherwise.",
  "requeues.budget":
    "Bounds all requeues together, as `budget` does for retries; it is earned by answers, so that nothing is knocked at twice where nobody answers.",
  "requeues.budget.ratio": "Requeues allowed for each request that was answered.",
  "requeues.budget.minPerSecond": "Requeues per second that are allowed regardless.",
  "requeues.budget.window": "For how long an answer counts.",
  replay: "Up to which size a request's body is kept, so that it can be sent again.",
};

const HEDGE: Sentences = {
  "": "A second attempt beside one that is slow, at another endpoint; idempotent methods only, off unless this is here.",
  enabled: "False is off but where a route says true.",
  after: "How long the first attempt may take: a time, or a percentile of what first attempts took lately.",
  window: "How far back latencies count for a percentile.",
  attempts: "How many attempts may be made beside the first, one after the other.",
  ratio:
    "The most that is sent beside the requests that may be hedged, in the mean; all of it counts against `retries.budget` as well.",
};

const BREAKER: Sentences = {
  "": "When an endpoint that fails is left alone; each endpoint has a breaker of its own.",
  mode: "`shadow` judges and counts and refuses nothing; `off` does not even judge.",
  enabled: "The older word for `mode`: true is `enforce`, false is `off`.",
  errorRate: "The share of failures in the window that opens the breaker.",
  minimumRequests: "How many requests the window must hold before the share is looked at.",
  consecutiveFailures: "How many failures in a row open the breaker whatever the share; 0 turns this off.",
  window: "How far back requests are counted.",
  failures:
    "What counts as a failure: connect, timeout, reset (a broken answer as well), 5xx (all but 501 and 505), or a status.",
  openFor:
    "How long an open breaker refuses before it lets one request through to find out; up to a quarter longer by chance.",
  openForMax:
    "What that grows to: it doubles each time that it opens again without having been well for a window, and for as long as it was open.",
  probes: "How many probes in a row must be good before it closes; one at a time.",
};

const OUTLIERS: Sentences = {
  enabled: "False compares nobody.",
  interval: "How often endpoints are compared.",
  minimumRequests: "How many requests an endpoint must have ended since the last comparison to be compared.",
  minimumEndpoints: "How many endpoints with so many requests there must be.",
  successRateFactor:
    "How many standard deviations of the others' success rates below their mean an outlier is; 0 turns the rule off.",
  successRateMargin: "How far below the others' mean an outlier is at least.",
  failureShare: "The share of failures that makes an outlier whatever the others do; 0% turns the rule off.",
  latencyFactor:
    "How many times the others' median latency makes an outlier; 0 turns the rule off. Where requests differ by endpoint, a slow one may only have the harder work.",
  latencyFloor: "The median latency below which nobody is slow.",
  consecutiveFailures: "Failures in a row that make an outlier at once; 0 leaves them to the breaker.",
  consecutiveGatewayFailures:
    "The same for 502, 503, 504, no connection and no answer in time; 0 leaves them to the breaker.",
  ejection: "How outliers are left alone.",
  "ejection.base": "How long, times how often it has been ejected.",
  "ejection.max": "What no ejection exceeds, but for a fifth by chance.",
  "ejection.share": "The share of the endpoints that may be out together; one always may.",
  "ejection.keep": "How many endpoints must be left.",
  probes: "How many good requests in a row, one at a time, bring an outlier back.",
};

export const SENTENCES: Sentences = {
  service: "The app that this sidecar stands beside; without it there is no inbound side.",
  ...under("service", {
    name: "Its name, under which peers find it.",
    id: "What tells this instance from others in Consul.",
    port: "The port on which the app listens.",
    protocol: "`tcp` carries connections to the app as they are, and reads nothing; see docs/tcp.md.",
    address: "The address on which the app listens.",
    advertise: "The address under which peers reach this sidecar, registered in Consul.",
    tags: "Tags to register in Consul.",
    meta: "Metadata to register in Consul; `zone` is read by heddle.",
    zone: "Where this instance is; registered as the metadata `zone`.",
    weight: "Its share of the requests in proportion to the other instances, registered in Consul.",
    warningWeight: "The same while a check says warning; 0 is none.",
    check: "How Consul finds out whether this instance is well.",
    "check.http":
      "The path that Consul asks for through the sidecar; without it Consul connects to the app's port.",
    "check.ttl":
      "Consul asks nobody: the sidecar asks the app at each interval and tells Consul, which takes the instance for critical when it has heard nothing for so long.",
    "check.interval": "How often Consul looks.",
    "check.timeout": "How long the app may take to answer.",
    "check.deregisterAfter": "After how long in a critical state Consul forgets the instance.",
  }),
  inbound: "What comes from peers to the app.",
  ...under("inbound", {
    ...LISTENER,
    ...under("timeouts", TIMEOUTS),
    ...under("retries", RETRIES),
    ...under("breaker", BREAKER),
    ...under("limits", LIMITS),
    ...POLICY,
    criticality:
      "Whether callers are believed who say in `x-heddle-criticality` how much a request matters; `ignore` takes the field off, see docs/overload.md.",
    mode: "`transparent` where the kernel redirects to it what peers send to any port; see docs/transparent.md.",
    keepAliveToApp: "How long an unused connection to the app is kept.",
    upgrades: UPGRADES,
  }),
  outbound: "What goes from the app to its peers.",
  ...under("outbound", {
    ...LISTENER,
    mode: "`transparent` where the kernel redirects to it what the app sends; see docs/transparent.md.",
    ports:
      "What is spoken on a port of any destination, where that is not to be found out by the first bytes: http or tcp.",
    detectTimeout:
      "How long a connection may say nothing until it is taken for one whose server speaks first, and carried as it is.",
    unknown: "Whether what belongs to no upstream may go where it was going.",
    inheritDeadlines:
      "Which requests of the app end no later than the one it is answering, known by the same X-Request-Id: none, all, or those that may be sent twice without harm; see docs/timeouts.md.",
    zone: "Where this sidecar is, for upstreams that prefer their own zone; that of `service` unless told otherwise.",
  }),
  admin: "The port for operators: health, metrics, and what is going on.",
  "admin.faults": "Whether faults for testing may be added at run time; see docs/faults.md.",
  "admin.listen": "Where to listen; whoever reaches it may drain this sidecar.",
  ...HEALTH,
  ...DISCOVERY_SENTENCES,
  upstreams: "The services that the app calls, each by the name that the app uses as the host.",
  ...under("upstreams.<name>", {
    "": "A service that the app calls.",
    ...SUPPLY_SENTENCES,
    protocol: "`tcp` carries connections as they are, from `localPort`, and reads nothing; see docs/tcp.md.",
    localPort:
      "A further port, on the address of `outbound.listen`, for requests to this upstream whatever their host; 0 takes any.",
    virtualAddresses:
      "Addresses with ports by which the app knows it and that are nobody's own, with `outbound.mode: transparent`.",
    balancing: "How an endpoint is chosen.",
    "balancing.algorithm":
      "How an endpoint is chosen; `peakEwma` prefers the one with the least latency and load.",
    "balancing.choices":
      "How many endpoints `leastRequest` and `peakEwma` draw to take the best of; from their number on it is the best of all.",
    "balancing.hash":
      "What a request is known by, for `ringHash` and `maglev`: the first of these that it has. One that has none goes to any.",
    "balancing.hash[].header": "The value of this header field.",
    "balancing.hash[].cookie": "The value of this cookie.",
    "balancing.hash[].ttl":
      "Sets the cookie where a request has none, to a value that nobody can guess, and for how long the caller keeps it; 0s is for its session. Without it the cookie is only read.",
    "balancing.hash[].query": "The value of this parameter of the query.",
    "balancing.hash[].path":
      "The path without the query; or the path of the cookie that is set, `/` unless told otherwise.",
    "balancing.hash[].source": "The caller's address.",
    "balancing.minimumRingSize":
      "For `ringHash`: how many points of the ring an endpoint of weight 1 has at least; 1024 unless told otherwise.",
    "balancing.maximumRingSize":
      "For `ringHash`: how many points the ring may have; 262,144 unless told otherwise.",
    "balancing.bias":
      "For `leastRequest` where weights differ: choose by chance in proportion to weight / (in flight + 1) ^ bias, as Envoy does, instead of by `choices`.",
    "balancing.prequal":
      "For `prequal`, which asks peers that are sidecars of heddle how loaded their apps are; of other peers it goes by what it sees, as `peakEwma` does.",
    "balancing.prequal.probes":
      "How many endpoints are asked for each request, where they have not just been heard; 0.5 is one for every other request, and 3 unless told otherwise.",
    "balancing.prequal.quantile":
      "An endpoint with more in flight than this share of those that answered lately is avoided; 84% unless told otherwise.",
    "balancing.prequal.maxAge": "How long an answer is believed; 1s unless told otherwise.",
    "balancing.panicThreshold":
      "Where less than this share of a level is well and all levels together cannot carry the traffic, its health is not believed and all of it is used; 0% always believes it.",
    "balancing.overprovisioning":
      "How many times its usual traffic a level of priority can carry before the next one gets a part.",
    "balancing.aperture":
      "How many endpoints this sidecar talks to at least, where there are more: a part of them, such that all get the same from all sidecars. 0 is all of them.",
    "balancing.zones": "Keeps requests in the zone of this sidecar as far as its endpoints can carry them.",
    "balancing.zones.enabled": "Whether zones are looked at; endpoints say theirs in discovery.",
    "balancing.zones.minimumEndpoints": "With fewer endpoints, zones are not looked at.",
    "balancing.zones.tolerance":
      "How many times the mean load the endpoints of the own zone may get before requests leave it.",
    "balancing.sticky":
      "Keeps a caller with the endpoint that answered it, by a cookie and with any algorithm.",
    "balancing.sticky.cookie": "The name of the cookie.",
    "balancing.sticky.ttl": "For how long the caller keeps it from when it was set; 0s is for its session.",
    "balancing.sticky.path": "For which paths the caller sends it.",
    "balancing.sticky.sameSite":
      "Whether a browser sends it with requests that another site caused; `none` needs `secure: true`.",
    "balancing.sticky.secure": "Whether a browser sends it over TLS alone.",
    "balancing.sticky.sharedSecret":
      "With it, who tries all addresses does not find which one the cookie names; the same in all sidecars of a service.",
    outliers: "Endpoints that do worse than the others are left alone for a while; see docs/outliers.md.",
    ...under("outliers", OUTLIERS),
    slowStart: "How much of its weight a new endpoint gets; not for `ringHash` and `maglev`.",
    "slowStart.window": "How long it takes to the full weight; 0s gives it at once.",
    "slowStart.aggression":
      "How steep the beginning is: 1 is a straight line, more gives more at first, less gives less.",
    "slowStart.floor": "The least share of its weight that a new endpoint gets.",
    "balancing.loadFactor":
      "For `ringHash` and `maglev`: an endpoint with more than so many times its share of what is in flight is passed over for the next.",
    ...under("timeouts", TIMEOUTS),
    ...under("retries", RETRIES),
    ...under("hedge", HEDGE),
    ...under("breaker", BREAKER),
    ...under("limits", LIMITS),
    ...POLICY,
    rateLimits:
      "How fast requests may come that are led here, in whatever way, unless their route has limits of its own. See docs/resilience.md.",
    fallback:
      "What is answered in place of the upstream when it cannot, unless the route has its own; see docs/fallbacks.md.",
    keepAlive: "How long an unused connection to an endpoint is kept, unless the endpoint promises less.",
    upgrades: UPGRADES,
  }),
  routes:
    "Which requests go to which upstreams; the first match wins, and without a match the host names the upstream.",
  ...under("routes[]", {
    name: "Its name in the access log and in metrics.",
    match: "What a request must have, all of it; an empty one matches every request.",
    "match.host": "The host, in any case, without its port.",
    "match.path": "The whole path, without the query.",
    "match.pathPrefix":
      "The beginning of the path, up to a `/`: `/v2` matches `/v2` and `/v2/x`, not `/v20`.",
    "match.methods": "One of these methods.",
    "match.headers": "These header fields with exactly these values; names in any case.",
    to: "Where to; with several, by chance in proportion to the weights.",
    "to[].upstream": "The upstream's name.",
    "to[].weight": "Its share of the requests; 0 is none.",
    timeouts: "In place of those of the upstream.",
    "timeouts.request":
      "How long the whole request may take, with all attempts and waits, until the answer's head.",
    "timeouts.attempt":
      "How long each attempt may take from the last byte of the request to the first of the answer.",
    ...under("breaker", {
      ...BREAKER,
      "": "When requests of this route are refused before any work, judged by what its callers get, after all attempts; there is none unless asked for.",
    }),
    retries: "In place of those of the upstream, whose back-off and budget hold all the same.",
    "retries.attempts": "Attempts after the first; 0 is none, and nothing that was sent is sent again.",
    "retries.on":
      "What is tried again: connectFailure, reset, timeout, or a status; that of the upstream unless told otherwise.",
    hedge:
      "In place of what its upstreams have; they must have `hedge`, which counts latencies and bounds it.",
    "hedge.enabled": "Whether its requests are hedged.",
    "hedge.after": "As the upstream's `hedge.after`, and that unless told otherwise.",
    "hedge.attempts": "As the upstream's `hedge.attempts`, and that unless told otherwise.",
  }),
  retries: "What holds for the retries of all upstreams.",
  "retries.enabled":
    "False switches off whatever sends a request again or twice; POST /retries of the admin port does so while it runs.",
  ...under("routes[]", POLICY),
  telemetry: "What is written to standard output.",
  "telemetry.accessLog": "One line for each request.",
  "telemetry.logLevel": "How much the sidecar says about itself.",
  shutdown: "How the sidecar ends.",
  "shutdown.grace": "How long requests may take to finish after SIGTERM.",
  ...OVERLOAD,
  workers:
    "How many threads carry the traffic. They share the ports and rate limits; other limits are divided among them, and each has its own connections, breakers and retry budget.",
};

/** Defaults that are no plain value, so that the shape cannot show them. */
export const OTHER_DEFAULTS: Sentences = {
  "service.id": "name, host and port",
  "overload.memoryLimit": "that of the control group",
  "service.advertise": "the address of `inbound.listen`, or the agent's if that is every address",
  "inbound.timeouts.connect": "`1s`, at most `request`",
  "inbound.timeouts.attempt": "`60s`, at most `request`",
  "inbound.breaker.openForMax": "`30s`, at least `openFor`",
  "discovery.consul.address": "`CONSUL_HTTP_ADDR`, else `http://127.0.0.1:8500`",
  "discovery.consul.token": "`CONSUL_HTTP_TOKEN`",
  "discovery.consul.tokenFile": "`CONSUL_HTTP_TOKEN_FILE`",
  "discovery.consul.basicAuth": "`CONSUL_HTTP_AUTH`",
  "discovery.consul.datacenter": "the agent's",
  "discovery.consul.namespace": "`CONSUL_NAMESPACE`",
  "discovery.consul.partition": "`CONSUL_PARTITION`",
  "discovery.consul.tls.caFile": "`CONSUL_CACERT`",
  "discovery.consul.tls.caDirectory": "`CONSUL_CAPATH`",
  "discovery.consul.tls.certFile": "`CONSUL_CLIENT_CERT`",
  "discovery.consul.tls.keyFile": "`CONSUL_CLIENT_KEY`",
  "discovery.consul.tls.serverName": "`CONSUL_TLS_SERVER_NAME`",
  "discovery.consul.tls.verify": "`CONSUL_HTTP_SSL_VERIFY`, else `true`",
  "upstreams.<name>.healthCheck.type": "`http`",
  "upstreams.<name>.from[].consul.service": "the upstream's name, without a `query`",
  "upstreams.<name>.from[].consul.datacenter": "that of `discovery.consul`",
  "upstreams.<name>.from[].dns.resolvers": "those of the system",
  "upstreams.<name>.from[].kubernetes.namespace": "that of the pod",
  "upstreams.<name>.from[].kubernetes.port": "the first of the Service",
  "upstreams.<name>.from[].kubernetes.server": "that of the cluster",
  "upstreams.<name>.from[].kubernetes.tokenFile": "that of the pod, for the server of the cluster",
  "upstreams.<name>.from[].kubernetes.caFile": "that of the pod, for the server of the cluster",
  "upstreams.<name>.balancing.sticky.secure": "`true` for a request with `X-Forwarded-Proto: https`",
  "upstreams.<name>.service": "the upstream's name",
  "upstreams.<name>.timeouts.connect": "`1s`, at most `request`",
  "upstreams.<name>.timeouts.attempt": "`10s`, at most `request`",
  "upstreams.<name>.breaker.openForMax": "`30s`, at least `openFor`",
  "routes[].breaker.openForMax": "`30s`, at least `openFor`",
  "routes[].name": "its place, as in `routes[0]`",
  ...Object.assign(
    {},
    ...["routes[]", "upstreams.<name>", "inbound"].map((whose) => under(whose, POLICY_DEFAULTS)),
  ),
};
