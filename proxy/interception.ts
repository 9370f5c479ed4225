/**
 * What a data plane knows that decides about connections which the kernel has redirected to it: names and routes, and the addresses
 * of upstreams. The machinery is loaded where something is redirected, and is nothing to anybody else.
 */
import { type Direction, Exchange, type RequestHead } from "../core/index.ts";
import type { Destinations } from "./destinations.ts";
import { hostOf, type RouteOptions, RouteTable } from "./route.ts";
import type { StackParts } from "./stack.ts";
import { nowhere, onward, tcp } from "./tcp-stack.ts";
import { Interceptor, type InterceptPlan, KnownAddresses } from "./transparent/index.ts";

type Acceptor = Interceptor["accept"];

export class Interception {
  readonly #parts: StackParts;
  readonly #destinations: Destinations;
  readonly #known = new Set<KnownAddresses>();
  readonly #counts = new Map<string, number>();
  #table = new RouteTable([]);
  #saidLoop = false;

  constructor(parts: StackParts, destinations: Destinations) {
    this.#parts = parts;
    this.#destinations = destinations;
  }

  set routes(routes: readonly RouteOptions[]) {
    this.#table = new RouteTable(routes);
  }

  /** @throws Error when this machine cannot say where connections were going */
  acceptor(direction: Direction, plan: InterceptPlan): Acceptor {
    const { clock } = this.#parts;
    const { handlers } = this.#destinations;
    const known = new KnownAddresses(plan.virtual, () => this.#destinations.single());
    this.#known.add(known);
    const interceptor = new Interceptor({
      plan,
      clock,
      known,
      leads: (head) => this.#leads(head),
      toUpstream: tcp(this.#parts, handlers),
      onward: onward(this.#parts),
      nowhere: nowhere(this.#parts),
      onLoop: (destination) => this.#sayLoop(destination),
      count: (as, to) => {
        const key = `${direction} ${as} ${to}`;
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      },
    });
    return (socket, of) => interceptor.accept(socket, of);
  }

  /** Names or endpoints have changed. */
  changed(): void {
    for (const known of this.#known) known.changed();
  }

  /** By direction, what connections were taken for, and what became of them, with a blank between. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  /** Once: there are as many as there are attempts. */
  #sayLoop(destination: string): void {
    if (this.#saidLoop) return;
    this.#saidLoop = true;
    this.#parts.log.error(
      { destination, uid: process.getuid?.() },
      "a connection that leads back to this sidecar is refused; do the rules name the user that it runs as?",
    );
  }

  #leads(head: RequestHead): boolean {
    if (this.#destinations.handlers.has(hostOf(head.authority))) return true;
    const { clock, random } = this.#parts;
    const asked = new Exchange("outbound", "", head, undefined, "", undefined, undefined, clock.recentMs);
    return this.#table.match(asked, random) !== undefined;
  }
}
