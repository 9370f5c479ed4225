/**
 * The sentences of the settings in shape-discovery.ts.
 */
export type Sentences = Readonly<Record<string, string>>;

/** The sentences of a section at its path; the empty key is the section itself. */
export function under(path: string, sentences: Sentences): Sentences {
  return Object.fromEntries(
    Object.entries(sentences).map(([key, sentence]) => [key === "" ? path : `${path}.${key}`, sentence]),
  );
}

const ENDPOINT: Sentences = {
  address: "Address and port.",
  weight: "Its share of the requests, in proportion to the other weights.",
  zone: "Where it is, as a label on the admin port.",
  priority: "Its level: 0 is preferred, and a higher one gets what those before it cannot carry.",
  tags: "What a `subset` may choose it by.",
  meta: "The same, by keys and values.",
};

const listOf = (path: string): Sentences => under(`${path}[]`, ENDPOINT);

export const DISCOVERY_SENTENCES: Sentences = {
  discovery: "Where endpoints come from that are not written in this file, and what holds when that is away.",
  "discovery.idleAfter":
    "An upstream with `follow: called` is no longer followed when it has not been called for so long.",
  ...under("discovery.consul", {
    "": "A Consul agent, asked for the endpoints of every upstream that names none. Its `CONSUL_*` variables fill in what is not set here.",
    address: "Where the agent is.",
    token: "The ACL token; an empty one is none. Best taken from the environment.",
    tokenFile: "A file with the token, read again when it changes.",
    basicAuth: "User and password for a proxy in front of the agent.",
    datacenter: "The datacenter to ask about.",
    namespace: "The namespace to ask about (Consul Enterprise).",
    partition: "The partition to ask about (Consul Enterprise).",
    tls: "For an address with https.",
    "tls.caFile": "The certificate authority of the agent.",
    "tls.caDirectory": "A directory of certificate authorities.",
    "tls.certFile": "The certificate to show to the agent.",
    "tls.keyFile": "Its key.",
    "tls.serverName": "The name that the agent's certificate must have.",
    "tls.verify": "False believes any agent.",
    wait: "How long a query may wait for a change before it is asked again.",
    poll: "Asks that often instead of waiting for changes; for agents that allow few connections.",
    stale: "Any server may answer, not only the leader: lighter, and there without a leader.",
    chain: "Heeds service-router, service-splitter and service-resolver.",
    register:
      "`self` registers the service and takes it out again when it drains; `none` leaves that to others.",
    sidecarFor:
      "Reads ports and upstreams from the definition of the one sidecar that Consul has for this service instance, as `consul connect proxy -sidecar-for` does.",
    proxyId: "The same with the id of the sidecar itself.",
  }),
  ...under("discovery.outage", {
    "": "When the registry is believed, and what holds while it is away; see docs/discovery.md.",
    keepFor: "How long the last good endpoints are used while the registry does not answer.",
    suspicious:
      "If more than this share of the endpoints of an upstream goes at once, they are asked themselves before it is believed.",
    believeAfter: "For how long endpoints that answer are kept although the registry does not list them.",
    probeTimeout: "How long an endpoint may take to answer when it is asked.",
    copy: "A file to keep the last good endpoints in, for a start without a registry.",
  }),
};

/** Of an upstream. */
export const SUPPLY_SENTENCES: Sentences = {
  endpoints: "Its replicas; without them Consul is asked.",
  ...listOf("endpoints"),
  service: "Its name in Consul.",
  from: "Where its endpoints come from, in the order of preference; in place of `endpoints` and `service`.",
  "from[].endpoints": "Replicas by their addresses.",
  ...listOf("from[].endpoints"),
  ...under("from[].consul", {
    "": "A service in Consul, or a prepared query.",
    service: "The name of the service.",
    query: "The name or id of a prepared query, in place of the service.",
    datacenter: "The datacenter to ask about.",
    filter: "Only instances for which this holds, such as `Service.Meta.version == v2`.",
    onlyPassing: "Leaves out instances with a warning.",
    connect: "The sidecars that are registered for the service, instead of the apps.",
  }),
  "from[].file": "A YAML or JSON file with a list of endpoints, followed as it changes.",
  ...under("from[].dns", {
    "": "A name in DNS, asked again as its TTL says.",
    name: "The name, in full.",
    type: "`A` asks for addresses of both kinds; `SRV` for addresses, ports, weights and priorities.",
    port: "The port of every address; needed with `A`.",
    resolvers: "The servers to ask.",
    minTtl: "A shorter TTL counts as this one.",
    maxTtl: "A longer TTL counts as this one.",
  }),
  ...under("from[].kubernetes", {
    "": "The EndpointSlices of a Service in Kubernetes.",
    service: "The name of the Service.",
    namespace: "Its namespace.",
    port: "Which of its ports.",
    server: "The API server.",
    tokenFile: "A file with a token for it.",
    caFile: "Its certificate authority.",
  }),
  merge:
    "`fallback` uses the first source that has an endpoint which is well; `union` uses all of them together; `priority` prefers each to those behind it, which get what it cannot carry.",
  subset:
    "Only the instances that have all of these tags and all of this metadata; of the sources, DNS knows neither, and Kubernetes no tags.",
  "subset.tags": "The tags.",
  "subset.meta": "The metadata, by key and value; of Kubernetes the labels of an EndpointSlice.",
  follow:
    "`called` looks for the endpoints when the upstream is first called, and stops when it is not called any more; `always` does so from the start.",
  ...under("healthCheck", {
    "": "Asks each endpoint itself whether it is well. One that fails gets no requests, unless all fail.",
    type: "What is asked: HTTP with GET, a connection, or gRPC's health service.",
    path: "The path to ask for.",
    host: "The host to ask for, in place of the endpoint's address.",
    statusFrom: "The lowest status that is well.",
    statusTo: "The highest status that is well.",
    service: "The gRPC service to ask about; empty for the server as a whole.",
    interval: "How long to wait between two questions.",
    fastInterval: "The same while the last answer speaks against the state.",
    timeout: "How long an endpoint may take to answer.",
    rise: "How many successes in a row bring an endpoint back.",
    fall: "How many failures in a row take it out.",
    jitter: "By which share of itself an interval may be shorter or longer.",
  }),
};
