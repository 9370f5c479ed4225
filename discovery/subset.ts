/**
 * The part of a service that an upstream is: the instances that have all of these tags and all of this metadata.
 *
 * Not by a filter that the registry applies, which only Consul has: who is left out there is not heard of, and "nobody is
 * registered" would look like "nobody has this tag". And before the guard, not behind it: what is believed in an outage, what
 * is kept for it and who is asked for its health are to be about those that are called.
 *
 * Who is listed and not in the subset is passed on as `outside` instead of being left out. Of an instance that is absent
 * nothing has been said, and one in use would be asked, and kept while it answers; but one that has got another tag was given
 * away by somebody, which is believed at once.
 */
import type { Log } from "../core/index.ts";
import type { Instance, Labels, Sink, Source } from "./source.ts";

/** At least one of all; texts are compared as they are written. */
export interface Subset {
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
}

interface Labelled {
  readonly labels?: Labels;
}

/** Of these those in the subset, or all of them, without what they were chosen by. */
export function inSubset<Of extends Labelled>(
  all: readonly Of[],
  subset: Subset | undefined,
): Omit<Of, "labels">[] {
  const chosen = subset === undefined ? all : all.filter((one) => isIn(one, subset));
  // Of thousands hardly any has labels, and a copy of each would be kept beside the first.
  return chosen.map((one) => (one.labels === undefined ? one : unlabelled(one)));
}

function unlabelled<Of extends Labelled>({ labels: _, ...one }: Of): Omit<Of, "labels"> {
  return one;
}

function isIn({ labels: { tags = [], meta = {} } = {} }: Labelled, subset: Subset): boolean {
  return (
    subset.tags.every((tag) => tags.includes(tag)) &&
    Object.entries(subset.meta).every(([key, value]) => meta[key] === value)
  );
}

/** `tags v2`, `tags v2, eu and meta version=2`. */
export function subsetText({ tags, meta }: Subset): string {
  const pairs = Object.entries(meta).map(([key, value]) => `${key}=${value}`);
  return [
    ...(tags.length === 0 ? [] : [`tags ${tags.join(", ")}`]),
    ...(pairs.length === 0 ? [] : [`meta ${pairs.join(", ")}`]),
  ].join(" and ");
}

/** A source of which only a subset is meant. */
export class SubsetSource implements Source {
  readonly name: string;
  readonly copyName: string;
  readonly #source: Source;
  readonly #subset: Subset;
  readonly #log: Log;
  #remark: string | undefined;

  /** @param source one that tells labels */
  constructor(source: Source, subset: Subset, log: Log) {
    const { tags, meta } = subset;
    this.name = `${source.name} (${subsetText(subset)})`;
    // The same however it is written, and no other one: a tag may have a comma in it.
    const key = JSON.stringify([tags.toSorted(), Object.entries(meta).sort(([a], [b]) => (a < b ? -1 : 1))]);
    this.copyName = `${source.copyName ?? source.name} ${key}`;
    this.#source = source;
    this.#subset = subset;
    this.#log = log;
  }

  /** Why there is nobody, although the source lists somebody. */
  get remark(): string | undefined {
    return this.#remark;
  }

  start(sink: Sink): void {
    this.#source.start({
      list: (instances) => sink.list(this.#divide(instances)),
      silent: (why) => sink.silent(why),
    });
  }

  stop(): void {
    this.#source.stop();
  }

  #divide(instances: readonly Instance[]): Instance[] {
    const text = subsetText(this.#subset);
    const note = `not in the subset ${text}`;
    let inside = 0;
    const divided = instances.map((instance): Instance => {
      const { labels: _, ...rest } = instance;
      if (!isIn(instance, this.#subset)) return { ...rest, health: "outside", note };
      inside++;
      return rest;
    });
    const { length } = instances;
    this.#say(
      inside > 0 || length === 0
        ? undefined
        : `${this.#source.name} lists ${length === 1 ? "1 instance" : `${length} instances`}, none in the subset ${text}`,
    );
    return divided;
  }

  #say(remark: string | undefined): void {
    // Once for as long as it lasts: a roll-out changes how many there are with each step.
    if (remark !== undefined && this.#remark === undefined) this.#log.warn({ source: this.name }, remark);
    this.#remark = remark;
  }
}
