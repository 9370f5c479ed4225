/**
 * From what Consul's health endpoints say to instances. A decision without I/O.
 *
 * The query is made without `passing` and read here: a warning is not a reason to send no traffic, it is a reason to send
 * what `Weights.Warning` says; and an instance that is out must be seen with its reason, not be missing. A failing check of
 * the node's agent (serfHealth) is kept apart from a failing check of the service: it says that the agent is away, while
 * the app may be well.
 *
 * An entry that cannot be understood is left out and counted, so that one faulty registration does not hide the others.
 */
import { endpointKey, identityText, type PeerIdentity } from "../../core/index.ts";
import { isCallable } from "../address.ts";
import { field, isPort, oneLine, text } from "../json-values.ts";
import type { Instance, Labels, RegistryHealth } from "../source.ts";

export interface HealthReading {
  readonly instances: readonly Instance[];
  /** Entries that name no usable address and port. */
  readonly unusable: number;
}

export interface ReadingOptions {
  /** For `Instance.source`. */
  readonly source: string;
  /** A warning counts as critical, as a subset may ask for. */
  readonly onlyPassing?: boolean;
  /** The addresses for callers in other datacenters are wanted. */
  readonly wan?: boolean;
  /** Tags and metadata are wanted. */
  readonly labelled?: boolean;
}

/** @returns undefined when `body` is not a list at all, as when something else answered in Consul's place */
export function readHealthEntries(body: unknown, options: ReadingOptions): HealthReading | undefined {
  if (!Array.isArray(body)) return undefined;
  const instances = new Map<string, Instance>();
  const identities: Identities = new Map();
  let unusable = 0;
  for (const entry of body) {
    const instance = readInstance(entry, options, identities);
    if (instance === undefined) {
      unusable++;
      continue;
    }
    // Two registrations may name one address, as when an instance came back under another id: the better one counts.
    // Where labels are wanted, one may be in a subset in which the other is not.
    const labels = instance.labels === undefined ? "" : ` ${JSON.stringify(instance.labels)}`;
    const key = `${endpointKey(instance)}${labels}`;
    const other = instances.get(key);
    if (other === undefined || isBetter(instance, other)) instances.set(key, instance);
  }
  return { instances: sortedByKey(instances), unusable };
}

/** In the order of their addresses, so that the same set compares equal in whatever order the registry lists it. */
export function sortedByKey(instances: ReadonlyMap<string, Instance>): Instance[] {
  return [...instances].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, instance]) => instance);
}

/** As in Consul itself, which may not be what has answered: sums of weights must stay numbers. */
const MOST_WEIGHT = 65_535;
const MOST_OF_A_NOTE = 160;

const ORDER: readonly RegistryHealth[] = ["passing", "warning", "unreachable", "maintenance", "critical"];

function isBetter(a: Instance, b: Instance): boolean {
  const rank = ORDER.indexOf(a.health) - ORDER.indexOf(b.health);
  return rank < 0 || (rank === 0 && a.weight > b.weight);
}

interface Judgement {
  readonly health: RegistryHealth;
  readonly note?: string;
}

/** The worst of all checks, with the words of the first that says so. */
function judge(checks: unknown, onlyPassing: boolean): Judgement {
  let worst: Judgement = { health: "passing" };
  for (const check of Array.isArray(checks) ? checks : []) {
    const judged = judgeOne(check, onlyPassing);
    if (ORDER.indexOf(judged.health) > ORDER.indexOf(worst.health)) worst = judged;
  }
  return worst;
}

function judgeOne(check: unknown, onlyPassing: boolean): Judgement {
  const status = field(check, "Status");
  if (status === "passing") return { health: "passing" };
  const id = text(field(check, "CheckID")) ?? "";
  const said = [
    text(field(check, "Name")) ?? id,
    text(field(check, "Output")) ?? text(field(check, "Notes")),
  ];
  const note = oneLine(said.filter((part) => part !== undefined && part !== "").join(": "), MOST_OF_A_NOTE);
  // An unknown status is not a reason to trust.
  const health: RegistryHealth = /^_(?:service|node)_maintenance/.test(id)
    ? "maintenance"
    : status === "warning" && !onlyPassing
      ? "warning"
      : id === "serfHealth"
        ? "unreachable"
        : "critical";
  return { health, note };
}

/** Those of one list are few, and shared by its instances. */
type Identities = Map<string, PeerIdentity>;

/** Of a sidecar, or of an instance that speaks for itself, who it is; an app that is called directly proves nothing. */
function identityOf(
  registered: unknown,
  node: unknown,
  identities: Identities,
): { readonly identity?: PeerIdentity } {
  const service =
    field(registered, "Kind") === "connect-proxy"
      ? text(field(field(registered, "Proxy"), "DestinationServiceName"))
      : field(field(registered, "Connect"), "Native") === true
        ? text(field(registered, "Service"))
        : undefined;
  if (service === undefined) return {};
  const datacenter = text(field(node, "Datacenter"));
  const namespace = text(field(registered, "Namespace"));
  const made: PeerIdentity = {
    service,
    ...(datacenter === undefined ? {} : { datacenter }),
    ...(namespace === undefined || namespace === "default" ? {} : { namespace }),
  };
  const name = identityText(made);
  const identity = identities.get(name) ?? made;
  identities.set(name, identity);
  return { identity };
}

function readInstance(
  entry: unknown,
  { source, onlyPassing, wan, labelled }: ReadingOptions,
  identities: Identities,
): Instance | undefined {
  const registered = field(entry, "Service");
  const node = field(entry, "Node");
  const at = wan === true ? wanAddress(registered, node) : undefined;
  const address = at?.address ?? text(field(registered, "Address")) ?? text(field(node, "Address"));
  const port = at?.port ?? field(registered, "Port");
  if (address === undefined || !isCallable(address) || !isPort(port)) return undefined;
  const judged = judge(field(entry, "Checks"), onlyPassing === true);
  const weights = field(registered, "Weights");
  const given = field(weights, judged.health === "warning" ? "Warning" : "Passing");
  const weight = typeof given === "number" && Number.isInteger(given) && given >= 0 ? given : 1;
  const zone =
    text(field(field(registered, "Meta"), "zone")) ?? text(field(field(registered, "Locality"), "Zone"));
  return {
    address,
    port,
    weight: Math.min(MOST_WEIGHT, Math.max(1, weight)),
    source,
    ...(zone === undefined ? {} : { zone }),
    ...identityOf(registered, node, identities),
    ...(labelled === true ? { labels: labelsOf(registered) } : {}),
    ...(weight === 0 ? { health: "maintenance", note: `its weight while ${judged.health} is 0` } : judged),
  };
}

/** Of a sidecar its own, which Consul takes from its service unless its definition says others. */
function labelsOf(registered: unknown): Labels {
  const tags = field(registered, "Tags");
  const meta = Object.entries(field(registered, "Meta") ?? {}).filter(
    ([, value]) => typeof value === "string",
  );
  return {
    tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [],
    meta: Object.fromEntries(meta),
  };
}

function wanAddress(registered: unknown, node: unknown): { address: string; port: number } | undefined {
  const tagged = field(field(registered, "TaggedAddresses"), "wan");
  const address =
    text(field(tagged, "Address")) ??
    (text(field(registered, "Address")) === undefined
      ? text(field(field(node, "TaggedAddresses"), "wan"))
      : undefined);
  // Consul says 0 for "the same".
  const port = field(tagged, "Port") || field(registered, "Port");
  return address !== undefined && isPort(port) ? { address, port } : undefined;
}
