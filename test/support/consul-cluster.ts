/**
 * A real Consul cluster for tests: a server agent and a client agent, each a process of its own with data on disk, as
 * machines have them and `consul agent -dev` has not. So each of them can die, hang, or come back with or without what
 * it knew, apart from the other, which is what tells a lost registry from a lost registration.
 *
 * Gossip and elections are set to be quick: a dead node is noticed within seconds. Ports are on loopback, unless an
 * agent runs in a namespace (namespace.ts), where it has an address to which the route can be cut.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Teardown } from "./apps.ts";
import { consulBinary } from "./consul.ts";
import { type Certificates, ConsulAgentProcess, type Doors } from "./consul-process.ts";
import { eventually } from "./eventually.ts";
import { freePorts } from "./free-ports.ts";
import type { Namespace } from "./namespace.ts";

const execute = promisify(execFile);

/** Members of Consul's configuration of an agent. */
export type Settings = Readonly<Record<string, unknown>>;

export type Role = "server" | "client";

export interface ClusterOptions {
  /** Nothing is allowed without a token: see `managementToken` and `createToken`. */
  readonly acls?: boolean;
  /** The client agent is asked over HTTPS alone, and only with a certificate of its authority: see `tls`. */
  readonly tls?: boolean;
  /** The client agent is asked over a Unix socket alone. */
  readonly unixSocket?: boolean;
  /** Definitions as in Consul's files, `{ name, port }`, which the client agent has over every restart. */
  readonly services?: readonly Settings[];
  /** Where an agent runs, if not on this machine's own network; it is asked from here all the same. */
  readonly namespaces?: Readonly<Partial<Record<Role, Namespace>>>;
  /** Further settings of an agent, such as `{ limits: { http_max_conns_per_client: 10 } }`. */
  readonly settings?: Readonly<Partial<Record<Role, Settings>>>;
}

/** The authority, and a certificate of it, which is the client agent's and good for whoever asks it too. */
export interface Tls {
  readonly files: Certificates;
  readonly texts: Certificates;
}

export interface Token {
  readonly id: string;
  readonly secret: string;
}

export interface TokenRights {
  /** Services for which it is an identity: it may register them, and read every node and service. */
  readonly services?: readonly string[];
  /** Rules of a policy, such as `service_prefix "" { policy = "read" }`. */
  readonly rules?: string;
}

interface Parts {
  /** `host:port` of the server's gossip. */
  readonly serverSerf: string;
  readonly server: ConsulAgentProcess;
  readonly client: ConsulAgentProcess;
  readonly managementToken: string | undefined;
  readonly tls: Tls | undefined;
}

export class Cluster {
  readonly server: ConsulAgentProcess;
  /** The one that a sidecar talks to. */
  readonly client: ConsulAgentProcess;
  /** May do everything, also after the server has lost what it knew; the agents' own `ask` and `tell` have it. */
  readonly managementToken: string | undefined;
  /** What it takes to ask the client agent over HTTPS. */
  readonly tls: Tls | undefined;

  readonly #serverSerf: string;

  constructor({ serverSerf, server, client, managementToken, tls }: Parts) {
    this.#serverSerf = serverSerf;
    this.server = server;
    this.client = client;
    this.managementToken = managementToken;
    this.tls = tls;
  }

  /** Resolves when there is a leader, both nodes are alive in its catalogue, and the client agent can ask it. */
  async whole(): Promise<void> {
    await Promise.all([this.serfHealth("server", "passing"), this.serfHealth("client", "passing")]);
    await eventually("the client agent to reach the server", async () => {
      const nodes = await this.client.ask<unknown[]>("/v1/catalog/nodes?consistent");
      return nodes.length === 2;
    });
  }

  /**
   * Makes the agents find each other again after both were found dead while both lived, as when a route was cut.
   * By themselves they take up to half a minute for it, which no setting shortens.
   */
  async rejoin(): Promise<void> {
    await eventually("the client agent to join the server", async () => {
      await this.client.tell(`/v1/agent/join/${this.#serverSerf}`);
      return true;
    });
    await this.whole();
  }

  /** Resolves when the catalogue has this of a node: `critical` when it was found dead, `absent` when it is not in it. */
  async serfHealth(node: Role, status: "passing" | "critical" | "absent"): Promise<void> {
    await eventually(`node ${node} to be ${status}`, async () => {
      const checks = await this.server.ask<Check[]>(`/v1/health/node/${node}`);
      const serf = checks.find(({ CheckID }) => CheckID === "serfHealth");
      return (serf?.Status ?? "absent") === status;
    });
  }

  /** Writes a config entry, such as `configEntry("service-defaults", { Name: "orders", Protocol: "http" })`. */
  async configEntry(kind: string, body: { readonly Name: string } & Settings): Promise<void> {
    await this.server.tell("/v1/config", { Kind: kind, ...body });
  }

  async deleteConfigEntry(kind: string, name: string): Promise<void> {
    await this.server.tell(`/v1/config/${kind}/${encodeURIComponent(name)}`, undefined, "DELETE");
  }

  async createToken({ services = [], rules }: TokenRights): Promise<Token> {
    const policies: object[] = [];
    if (rules !== undefined) {
      const policy = { Name: `policy-${randomUUID()}`, Rules: rules };
      await this.server.tell("/v1/acl/policy", policy);
      policies.push({ Name: policy.Name });
    }
    const identities = services.map((ServiceName) => ({ ServiceName }));
    const made = await this.server.tell<Record<"AccessorID" | "SecretID", string>>("/v1/acl/token", {
      Policies: policies,
      ServiceIdentities: identities,
    });
    return { id: made.AccessorID, secret: made.SecretID };
  }

  /** Deletes a token; the client agent may believe in it for a second more. */
  async revoke(token: Token): Promise<void> {
    await this.server.tell(`/v1/acl/token/${token.id}`, undefined, "DELETE");
  }
}

interface Check {
  readonly CheckID: string;
  readonly Status: string;
}

/** Starts a cluster that ends with the test; resolves when it is whole. */
export async function startCluster(t: Teardown, options: ClusterOptions = {}): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-consul-"));
  const [serverHttp, rpc, serverSerf, clientHttp, clientSerf] = (await freePorts(5)) as Ports;
  const tls = options.tls === true ? await createTls(folder, addressesOf(options).client) : undefined;
  const managementToken = options.acls === true ? randomUUID() : undefined;
  const serfs = { server: serverSerf, client: clientSerf };

  const prepare = async (role: Role, doors: Doors, own: Settings): Promise<ConsulAgentProcess> => {
    const settings = { ...common(role, options, serfs, managementToken), ...own };
    const files = { config: join(folder, `${role}.json`), data: join(folder, role) };
    await mkdir(files.data);
    await writeFile(
      files.config,
      JSON.stringify({ ...settings, ...options.settings?.[role], data_dir: files.data }),
    );
    const agent = new ConsulAgentProcess({
      files,
      doors,
      token: managementToken,
      namespace: options.namespaces?.[role],
    });
    t.teardown(() => agent.kill());
    return agent;
  };

  // Registered first, so that it comes last: what still runs would write into it.
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { server: serverHost, client: clientHost } = addressesOf(options);
  const server = await prepare(
    "server",
    { url: `http://${serverHost}:${serverHttp}` },
    {
      server: true,
      bootstrap_expect: 1,
      performance: { raft_multiplier: 1 },
      ports: { ...NO_PORTS, http: serverHttp, server: rpc, serf_lan: serverSerf },
    },
  );
  const doors: Doors =
    options.unixSocket === true
      ? { url: "http://localhost", socket: join(folder, "http.sock") }
      : tls === undefined
        ? { url: `http://${clientHost}:${clientHttp}` }
        : { url: `https://${clientHost}:${clientHttp}`, tls: tls.texts };
  const client = await prepare("client", doors, {
    ports: {
      ...NO_PORTS,
      ...(tls === undefined ? { http: clientHttp } : { https: clientHttp }),
      serf_lan: clientSerf,
    },
    ...(doors.socket === undefined ? {} : { addresses: { http: `unix://${doors.socket}` } }),
    ...(tls === undefined
      ? {}
      : {
          ca_file: tls.files.ca,
          cert_file: tls.files.cert,
          key_file: tls.files.key,
          verify_incoming_https: true,
        }),
    services: (options.services ?? []).map((service) => ({
      ...(managementToken === undefined ? {} : { token: managementToken }),
      ...service,
    })),
  });
  await Promise.all([server.start(), client.start()]);
  const cluster = new Cluster({
    serverSerf: `${serverHost}:${serverSerf}`,
    server,
    client,
    managementToken,
    tls,
  });
  await cluster.whole();
  return cluster;
}

type Ports = [number, number, number, number, number];

const NO_PORTS = { http: -1, https: -1, dns: -1, grpc: -1, serf_wan: -1 };

/** Where each agent is: on loopback, unless one of them is elsewhere and has to reach the other. */
function addressesOf({ namespaces = {} }: ClusterOptions): Record<Role, string> {
  const of = (own: Namespace | undefined, other: Namespace | undefined) =>
    own?.address ?? other?.hostAddress ?? "127.0.0.1";
  return {
    server: of(namespaces.server, namespaces.client),
    client: of(namespaces.client, namespaces.server),
  };
}

function common(
  role: Role,
  options: ClusterOptions,
  serfs: Readonly<Record<Role, number>>,
  managementToken: string | undefined,
): Settings {
  const addresses = addressesOf(options);
  const other = role === "server" ? "client" : "server";
  return {
    node_name: role,
    // Otherwise it is part of the data, and an agent that comes back without its data, before it was found dead, is
    // refused for minutes: another node has its name.
    node_id: randomUUID(),
    datacenter: "dc1",
    bind_addr: addresses[role],
    client_addr: addresses[role],
    // Both ways and for ever, as either may be the one that forgot the other.
    retry_join: [`${addresses[other]}:${serfs[other]}`],
    retry_interval: "1s",
    gossip_lan: {
      gossip_interval: "100ms",
      probe_interval: "500ms",
      probe_timeout: "250ms",
      suspicion_mult: 3,
    },
    log_level: "err",
    disable_update_check: true,
    enable_central_service_config: true,
    connect: { enabled: true },
    ...(managementToken === undefined ? {} : { acl: aclSettings(managementToken) }),
  };
}

/**
 * The management token is given, and not asked for once by /v1/acl/bootstrap, so that a server that has lost its data
 * still knows it. The agents remember what a token may do for as short a time as they can be told to.
 */
function aclSettings(managementToken: string): Settings {
  return {
    enabled: true,
    default_policy: "deny",
    token_ttl: "1s",
    policy_ttl: "1s",
    role_ttl: "1s",
    tokens: { master: managementToken, agent: managementToken },
  };
}

/** An authority and a certificate of it, which is good for the agent at this address and for who asks it. */
async function createTls(folder: string, address: string): Promise<Tls> {
  const consul = (...args: string[]) => execute(consulBinary(), ["tls", ...args], { cwd: folder });
  await consul("ca", "create");
  await consul("cert", "create", "-client", "-additional-ipaddress", address);
  const file = (name: string) => join(folder, `${name}.pem`);
  const ca = file("consul-agent-ca");
  const cert = file("dc1-client-consul-0");
  const key = file("dc1-client-consul-0-key");
  const read = (path: string) => readFile(path, "utf8");
  return {
    files: { ca, cert, key },
    texts: { ca: await read(ca), cert: await read(cert), key: await read(key) },
  };
}
