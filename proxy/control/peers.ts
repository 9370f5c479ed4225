/**
 * Who does the same as this sidecar: the other instances of its service, as far as the registry knows them.
 *
 * Where callers are decides how much of a zone's traffic may stay in it, and which of many endpoints this sidecar is to
 * talk to depends on its place among those that share them. It is asked for only if an upstream wants either. As long as
 * nothing is known, zones are taken to have as many callers each, and the place comes from this sidecar's name.
 */
import { type PeerPlace, placeAmong, placeOfId } from "../../balancing/index.ts";
import { endpointKey } from "../../core/index.ts";
import type { Instance, Source } from "../../discovery/index.ts";
import type { Situation } from "../upstream/index.ts";

export interface PeersParts {
  /** The instances of this sidecar's own service; undefined when nobody can be asked. */
  readonly source: Source | undefined;
  /** What nobody else is called. */
  readonly id: string;
  readonly zone: string | undefined;
  /** Whether an instance is the one beside this sidecar. */
  readonly isOwn: (instance: Instance) => boolean;
  /** Told of each change. */
  readonly onSituation: (situation: Situation) => void;
}

export class Peers {
  readonly #parts: PeersParts;
  #situation: Situation;

  constructor(parts: PeersParts) {
    this.#parts = parts;
    this.#situation = { zone: parts.zone, place: placeOfId(parts.id) };
  }

  get situation(): Situation {
    return this.#situation;
  }

  start(): void {
    this.#parts.source?.start({
      list: (instances) => this.#believe(situationAmong(instances, this.#parts)),
      // Those who were there are there still, as far as anybody can tell.
      silent() {},
    });
  }

  stop(): void {
    this.#parts.source?.stop();
  }

  #believe(situation: Situation): void {
    if (JSON.stringify(situation) === JSON.stringify(this.#situation)) return;
    this.#situation = situation;
    this.#parts.onSituation(situation);
  }
}

/** A decision without I/O. One that does not see itself keeps the place of its name: two must never take the same. */
export function situationAmong(
  instances: readonly Instance[],
  { id, zone, isOwn }: Pick<PeersParts, "id" | "zone" | "isOwn">,
): Situation {
  // One in maintenance sends nothing; whatever else is said of it, it may send.
  const peers = instances.filter(({ health }) => health !== "maintenance");
  const self = peers.find(isOwn);
  if (self === undefined) return { zone, place: placeOfId(id) };
  const place: PeerPlace = placeAmong(endpointKey(self), peers.map(endpointKey));
  const callers: Record<string, number> = {};
  // In one order, whatever that of the list: what is the same must look the same.
  for (const where of peers.map((peer) => peer.zone ?? "").sort()) callers[where] = (callers[where] ?? 0) + 1;
  return { zone, place, callers };
}
