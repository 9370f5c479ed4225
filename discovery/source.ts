/**
 * Where endpoints come from, as every source is seen by the rest.
 *
 * A source reports and does not judge: it lists all instances with what it says of their health, and it says when it
 * cannot be reached. Whether an instance gets traffic is decided in one place for all sources (outage/guard.ts), so that
 * a registry that has lost its memory is met with the same caution whichever it is.
 */
import type { Clock, Endpoint, Log, Random } from "../core/index.ts";

/**
 * What a source says of an instance. `critical` and `maintenance` are said of the instance itself; `unreachable` is said
 * of what stands between it and the registry, such as the node's agent, and the instance may be well. `outside` is one of
 * which is known that it is not meant, however it is.
 */
export type RegistryHealth = "passing" | "warning" | "critical" | "maintenance" | "unreachable" | "outside";

/** What an instance is known by beside its address. */
export interface Labels {
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
}

export interface Instance extends Endpoint {
  readonly health: RegistryHealth;
  /** Why it is not passing, in the source's words. */
  readonly note?: string;
  /** Told only where a subset is chosen by them, and no further than to there: thousands of others need not hold them. */
  readonly labels?: Labels;
}

/** Who listens to a source. */
export interface Sink {
  /** All instances there are. The same list may be said again: it confirms, and ends a silence. */
  list(instances: readonly Instance[]): void;
  /** The source does not answer, or not in a way that can be understood. Said with every failed attempt. */
  silent(why: string): void;
}

export interface Source {
  /** For the log and /endpoints, such as `static` or `consul:orders`. */
  readonly name: string;
  /** Under which its last good list is kept, where the name does not tell it from every other source. */
  readonly copyName?: string;
  /** It says one thing for ever: there is nothing to keep a copy of. */
  readonly fixed?: true;
  /** What is to be said of its last list, in words, for /endpoints. */
  readonly remark?: string | undefined;
  /** Begins to speak, the first time as soon as there is something to say. Called once. */
  start(sink: Sink): void;
  /** Says nothing more, and holds no timer, socket or watch. */
  stop(): void;
}

/** What a source needs of the process. */
export interface SourceParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
