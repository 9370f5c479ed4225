/**
 * All names of a sidecar: which are followed, since when they have not been called, and what is known of each.
 *
 * A name is followed when it is first called and not before: a sidecar that may call a thousand services and calls five
 * holds the endpoints of five. What was known of a name that is not followed any more stays in the last good lists.
 */
import type { Endpoint, Timer } from "../../core/index.ts";
import { inSubset, type SupplyView, supplied } from "../../discovery/index.ts";
import { own } from "../own.ts";
import { type Leads, plainDestination } from "../plan.ts";
import type { StackParts } from "../stack.ts";
import { FollowedName, type FollowedNameParts } from "./followed-name.ts";
import type { NameSpec } from "./name-spec.ts";

/** What the names tell the data planes. */
export interface NamesOutlet {
  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void;
  update(key: string, endpoints: readonly Endpoint[]): void;
  /** How often each name has been called. */
  calls(): Promise<Readonly<Record<string, number>>>;
}

export interface NamesParts
  extends Pick<StackParts, "clock" | "log">,
    Omit<FollowedNameParts, "onLead" | "onEndpoints"> {
  readonly outlet: NamesOutlet;
  readonly idleAfterMs: number;
}

interface Called {
  count: number;
  atMs: number;
}

export class Names {
  readonly #parts: NamesParts;
  readonly #specs = new Map<string, NameSpec>();
  readonly #followed = new Map<string, FollowedName>();
  /** What leads a name until the one that is followed in its place does. */
  readonly #outgoing = new Map<string, FollowedName>();
  readonly #called = new Map<string, Called>();
  #sweep: Timer | undefined;
  #stopped = false;

  constructor(parts: NamesParts) {
    this.#parts = parts;
  }

  /** What a name leads to before it is followed. */
  static unfollowed(spec: NameSpec): Leads {
    const { name, options } = spec;
    return fixedEndpoints(spec) === undefined ? "pending" : plainDestination(name, { name, options });
  }

  /**
   * These are the names from now on; those that stay as they are are not disturbed.
   * @returns resolves when what is always followed has led somewhere
   */
  set(specs: readonly NameSpec[]): Promise<unknown> {
    const wanted = new Map(specs.map((spec) => [spec.name, spec]));
    for (const name of [...this.#specs.keys()]) if (!wanted.has(name)) this.#forget(name);
    const spoken: Promise<void>[] = [];
    for (const [name, spec] of wanted) {
      const before = this.#specs.get(name);
      if (before !== undefined && JSON.stringify(before) === JSON.stringify(spec)) continue;
      const wasFollowed = this.#followed.has(name);
      this.#specs.set(name, spec);
      const endpoints = fixedEndpoints(spec);
      if (endpoints !== undefined) {
        this.#end(name);
        this.#parts.outlet.lead(name, Names.unfollowed(spec), { [name]: endpoints });
      } else if (spec.follow === "always" || wasFollowed) spoken.push(this.#follow(spec));
      else this.#parts.outlet.lead(name, "pending", {});
    }
    return Promise.all(spoken);
  }

  /** A name has been called of which nothing is known. */
  wanted(name: string): void {
    const spec = this.#specs.get(name);
    if (spec === undefined || this.#followed.has(name) || this.#stopped) return;
    void this.#follow(spec);
  }

  /** Followed or not. */
  get all(): readonly string[] {
    return [...this.#specs.keys()];
  }

  /** By the key of the upstream, of what is followed and of what needs not be. */
  views(): Record<string, SupplyView> {
    const views: Record<string, SupplyView> = {};
    for (const [name, spec] of this.#specs) {
      const endpoints = fixedEndpoints(spec);
      if (endpoints !== undefined) views[name] = supplied("static", endpoints);
      else
        Object.assign(
          views,
          this.#followed.get(name)?.views() ?? { [name]: supplied("none", [], "unfollowed") },
        );
    }
    return views;
  }

  stop(): void {
    this.#stopped = true;
    this.#sweep?.cancel();
    for (const name of [...this.#followed.keys()]) this.#end(name);
  }

  /** Follows anew; what was known of before is in use until the new knowledge is there. */
  #follow(spec: NameSpec): Promise<void> {
    const { outlet, clock } = this.#parts;
    const before = this.#followed.get(spec.name);
    const { promise, resolve } = Promise.withResolvers<void>();
    const followed = new FollowedName(spec, {
      ...this.#parts,
      onLead: (destination, endpoints) => {
        this.#outgoing.get(spec.name)?.stop();
        this.#outgoing.delete(spec.name);
        outlet.lead(spec.name, destination, endpoints);
        resolve();
      },
      onEndpoints: (key, endpoints) => outlet.update(key, endpoints),
    });
    this.#followed.set(spec.name, followed);
    if (before?.leads === true) this.#outgoing.set(spec.name, before);
    this.#called.set(spec.name, { count: 0, atMs: clock.now() });
    followed.start();
    // Nothing was ever heard of it, and what leads still does. After the start, as both may ask the same.
    if (before?.leads === false) before.stop();
    this.#sweepSoon();
    return promise;
  }

  #end(name: string): void {
    this.#followed.get(name)?.stop();
    this.#followed.delete(name);
    this.#outgoing.get(name)?.stop();
    this.#outgoing.delete(name);
    this.#called.delete(name);
  }

  #forget(name: string): void {
    this.#end(name);
    this.#specs.delete(name);
    this.#parts.outlet.lead(name, undefined, {});
  }

  #sweepSoon(): void {
    const { clock, idleAfterMs } = this.#parts;
    if (this.#sweep !== undefined || this.#stopped || this.#followed.size === 0) return;
    this.#sweep = clock.schedule(Math.max(250, idleAfterMs / 4), () => {
      this.#sweep = undefined;
      void this.#endIdle().finally(() => this.#sweepSoon());
    });
  }

  async #endIdle(): Promise<void> {
    const { clock, idleAfterMs, outlet, log } = this.#parts;
    const calls = await outlet.calls();
    const nowMs = clock.now();
    for (const [name, followed] of [...this.#followed]) {
      const called = this.#called.get(name);
      const count = own(calls, name) ?? 0;
      if (called === undefined || followed.spec.follow === "always") continue;
      // Who waits for the first word is not counted yet.
      if (count !== called.count || !followed.leads) {
        called.count = count;
        called.atMs = nowMs;
      } else if (nowMs - called.atMs >= idleAfterMs) {
        log.info(
          { upstream: name, idleMs: Math.round(nowMs - called.atMs) },
          "not called any more; no longer followed",
        );
        this.#end(name);
        outlet.lead(name, "pending", {});
      }
    }
  }
}

/** The endpoints of a name that needs not be followed: they are in the configuration, and nobody looks after them. */
function fixedEndpoints({ origin, healthCheck, subset }: NameSpec): readonly Endpoint[] | undefined {
  if (healthCheck !== undefined || origin.type !== "sources" || origin.from.length !== 1) return undefined;
  const [only] = origin.from;
  return only?.kind === "static" ? inSubset(only.endpoints, subset) : undefined;
}
