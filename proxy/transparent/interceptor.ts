/**
 * What becomes of a connection that the kernel has redirected here: whether it goes through the mesh, and as what, is passed on to
 * where it was going, or is refused.
 *
 * Through the mesh goes what is known: by the address that it was going to, or by the Host of a request. All else is none of
 * ours, and passes as it is: not even the fields of a request are touched, since who is outside of the mesh has not agreed to
 * be told of it. What leads back here is refused, before it goes round.
 */
import type { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, endpointKey, type Handler, ProxyError, type RequestHead } from "../../core/index.ts";
import {
  type ConnectionParts,
  DownstreamConnection,
  type OpenConnection,
  plainAddress,
  TcpConnection,
} from "../downstream/index.ts";
import { ownConnections } from "../own-connections.ts";
import type { Spoken } from "./first-bytes.ts";
import type { KnownAddress, KnownAddresses } from "./known-addresses.ts";
import { Listening } from "./listening.ts";
import { type Address, originalDestinations } from "./original-destination.ts";

/** How a listener deals with connections that were redirected; plain values. */
export interface InterceptPlan {
  /** Names of upstreams by addresses that are nobody's own, `address:port`. */
  readonly virtual: Readonly<Record<string, string>>;
  /** What is spoken on a port, where that is not to be found out. */
  readonly ports: Readonly<Record<string, "http" | "tcp">>;
  /** How long a connection may say nothing until it is taken for one whose server speaks first. */
  readonly detectMs: number;
  readonly unknown: "allow" | "refuse";
  /** On which this sidecar itself listens. */
  readonly ownPorts: readonly number[];
  /** On the way in: the port of the app, and that under which peers may know it. All others pass. */
  readonly appPorts?: readonly number[] | undefined;
  /** Connections of this sidecar's own, shared by its workers. */
  readonly ownTable: SharedArrayBuffer;
}

export interface InterceptorParts {
  readonly plan: InterceptPlan;
  readonly clock: Clock;
  readonly known: KnownAddresses;
  /** Whether a route, or a name, is there for a request. */
  readonly leads: (head: RequestHead) => boolean;
  /** Carries a connection to the upstream that it is bound to. */
  readonly toUpstream: Handler;
  /** Carries a connection to where it was going. */
  readonly onward: Handler;
  /** Refuses a connection that nothing is known of. */
  readonly nowhere: Handler;
  /** Told of each connection that leads back here, and of where it was going, `address:port`. */
  readonly onLoop: (destination: string) => void;
  /** Told of each connection: how it was known what it speaks, and what became of it. */
  readonly count: (as: string, to: "mesh" | "passed" | "refused" | "loop") => void;
}

/** On these the server speaks first, or nobody would speak HTTP: SMTP, its submission, MySQL and its cluster, PostgreSQL, Redis,
 * Elasticsearch, memcached. Linkerd has the same list. */
const OPAQUE_PORTS: ReadonlySet<number> = new Set([25, 587, 3306, 4444, 5432, 6379, 9300, 11211]);

const LOOPBACK = /^(?:127\.|::1$)/;

export class Interceptor {
  readonly #parts: InterceptorParts;
  readonly #originalOf: (socket: Socket) => Address;

  /** @throws Error when this machine cannot say where connections were going */
  constructor(parts: InterceptorParts) {
    this.#parts = parts;
    this.#originalOf = originalDestinations();
    ownConnections.use(parts.plan.ownTable);
  }

  /** @returns undefined when it has been refused */
  accept(accepted: Socket, parts: ConnectionParts): OpenConnection | undefined {
    const { plan, known, clock } = this.#parts;
    const to = this.#originalOf(accepted);
    if (this.#isLoop(accepted, to, parts)) {
      this.#refuseLoop(accepted, to);
      return undefined;
    }
    if (plan.appPorts !== undefined) return this.#comeIn(accepted, to, parts, plan.appPorts);
    const address = known.find(to);
    const declared = plan.ports[to.port] ?? (OPAQUE_PORTS.has(to.port) ? "tcp" : undefined);
    if (address?.protocol === "tcp" || declared === "tcp")
      return this.#carry(accepted, to, parts, address, address?.protocol === "tcp" ? "known" : "declared");
    // Who has said that it is HTTP has said that its client speaks first.
    const silenceMs = declared === "http" ? undefined : plan.detectMs;
    return new Listening(accepted, parts, clock, silenceMs, (socket, as, head, own) =>
      this.#heard(socket, to, own, address, as, head),
    );
  }

  #heard(
    socket: Socket,
    to: Address,
    parts: ConnectionParts,
    address: KnownAddress | undefined,
    as: Spoken | "silent",
    head: RequestHead | undefined,
  ): DownstreamConnection | TcpConnection | undefined {
    const { plan, count } = this.#parts;
    // Another worker's may have been here before it was noted, which it is before anything is said on it.
    if (this.#isOwn(socket, to)) {
      this.#refuseLoop(socket, to);
      return undefined;
    }
    if (as !== "http") return this.#carry(socket, to, parts, address, as);
    if (head !== undefined && this.#parts.leads(head)) {
      count("http", "mesh");
      return new DownstreamConnection(socket, parts);
    }
    if (address !== undefined) {
      count("http", "mesh");
      const bound = { ...parts, boundUpstream: address.name, pinnedTo: address.endpoint ?? "" };
      return new DownstreamConnection(socket, bound);
    }
    if (plan.unknown === "allow") return this.#carry(socket, to, parts, undefined, "http");
    count("http", "refused");
    return new DownstreamConnection(socket, parts);
  }

  /** As it is, to the upstream of its address, or onward. */
  #carry(
    socket: Socket,
    to: Address,
    parts: ConnectionParts,
    address: KnownAddress | undefined,
    as: string,
  ): TcpConnection {
    const { plan, count, toUpstream, onward, nowhere } = this.#parts;
    const destination = endpointKey(to);
    const carried = (handle: Handler, pinnedTo: string) =>
      new TcpConnection(socket, {
        ...parts,
        handle: this.#unlessOwn(socket, to, handle),
        destination,
        pinnedTo,
        boundUpstream: address?.name,
      });
    if (address !== undefined) {
      count(as, "mesh");
      return carried(toUpstream, address.endpoint ?? "");
    }
    if (plan.unknown === "allow" || plan.appPorts !== undefined) {
      count(as, "passed");
      return carried(onward, destination);
    }
    count(as, "refused");
    return carried(nowhere, "");
  }

  /** From a peer: to the app, or to another port of the same pod, which is called at its own address as it would have been. */
  #comeIn(
    accepted: Socket,
    to: Address,
    parts: ConnectionParts,
    appPorts: readonly number[],
  ): OpenConnection {
    if (!appPorts.includes(to.port)) return this.#carry(accepted, to, parts, undefined, "other");
    this.#parts.count("known", "mesh");
    return parts.protocol === "tcp"
      ? new TcpConnection(accepted, parts)
      : new DownstreamConnection(accepted, parts);
  }

  #isOwn({ remoteAddress = "", remotePort = 0 }: Socket, to: Address): boolean {
    return ownConnections.has({ address: plainAddress(remoteAddress), port: remotePort }, to);
  }

  /** Looks a turn later once more: a connection of another worker may be accepted before that worker has noted it. */
  #unlessOwn(socket: Socket, to: Address, handle: Handler): Handler {
    return async (exchange) => {
      await nextTurn();
      if (!this.#isOwn(socket, to)) return handle(exchange);
      this.#refuseLoop(socket, to);
      throw new ProxyError("client_closed", "the connection is the sidecar's own");
    };
  }

  #isLoop(accepted: Socket, to: Address, { direction }: ConnectionParts): boolean {
    if (this.#isOwn(accepted, to)) return true;
    const { ownPorts, appPorts = [] } = this.#parts.plan;
    if (!ownPorts.includes(to.port) || appPorts.includes(to.port)) return false;
    // What comes in was going to this machine, whatever its address.
    return (
      direction === "inbound" ||
      LOOPBACK.test(to.address) ||
      to.address === plainAddress(accepted.remoteAddress ?? "")
    );
  }

  #refuseLoop(accepted: Socket, to: Address): void {
    this.#parts.count("any", "loop");
    accepted.on("error", () => {});
    accepted.resetAndDestroy();
    this.#parts.onLoop(endpointKey(to));
  }
}
