/**
 * A mesh whose registry is about to get into trouble, and what that costs its users.
 */
import type { Test } from "tap";
import type { Teardown } from "./apps.ts";
import { type Cluster, type ClusterOptions, startCluster } from "./consul-cluster.ts";
import { freePorts } from "./free-ports.ts";
import { Load, Replica } from "./mesh.ts";
import { type SidecarProcess, startSidecar } from "./sidecar.ts";

/** Requests, by each load. */
export const PER_SECOND = 150;

/** A caller under load and three replicas, whose registry is about to get into trouble. */
export interface Mesh {
  readonly cluster: Cluster;
  readonly caller: SidecarProcess;
  readonly load: Load;
  readonly replicas: readonly Replica[];
}

/** What a fault has cost. */
export class Bill {
  readonly #load: Load;
  readonly #sent: number;

  constructor(load: Load) {
    this.#load = load;
    this.#sent = load.sent;
  }

  /** No request has failed, and there were enough for that to mean something. */
  pay(t: Test, fault: string): void {
    const sent = this.#load.sent - this.#sent;
    const { faults } = this.#load;
    t.comment(`${fault}: ${sent} sent, ${faults.length} failed`);
    t.same(faults, [], `${fault}: no request fails`);
    t.ok(sent > PER_SECOND, `${fault}: ${sent} requests`);
  }
}

export async function startMesh(
  t: Teardown,
  options: ClusterOptions & {
    readonly consul?: (cluster: Cluster) => object;
    readonly caller?: (cluster: Cluster) => object;
    readonly check?: object;
  } = {},
): Promise<Mesh> {
  const cluster = await startCluster(t, options);
  const own = options.consul?.(cluster) ?? { address: cluster.client.address };
  const ports = await freePorts(3);
  const [caller, ...replicas] = await Promise.all([
    startSidecar(t, {
      upstreams: { orders: { follow: "always" } },
      discovery: { consul: options.caller?.(cluster) ?? own },
      telemetry: { accessLog: false },
    }),
    ...ports.map((port, n) => new Replica(t, own, `orders-${n}`, port, options.check).start(t)),
  ]);
  const load = new Load("orders", caller);
  await load.lists(replicas);
  await load.hears();
  load.begin(t, PER_SECOND);
  await load.go(PER_SECOND);
  return { cluster, caller, load, replicas };
}
