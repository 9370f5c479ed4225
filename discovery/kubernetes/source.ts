/**
 * Follows the EndpointSlices of one Service in Kubernetes: a list, and from its version on a watch.
 *
 * The official client's informer is not used (docs/decisions/0014-kubernetes-by-plain-watch.md): it ends with the first
 * error that is not a 410, drops what it cannot parse, and reads no clock but its own. Here an answer that is not
 * understood is an outage and never a loss: all is listed again, after a pause that spreads sidecars out. Only an end is not an outage. The server ends
 * every watch after some minutes, load balancers and restarts end it earlier, and the next one goes on from the last version.
 *
 * The list asks for what is true now (no resourceVersion) and not for what some server has in memory (version 0): after
 * a restart that may be older than what is known here already, and it comes in one piece however large it is.
 */
import { below } from "../../core/index.ts";
import { backoffMs } from "../../resilience/index.ts";
import { sleep } from "../sleep.ts";
import type { Sink, Source, SourceParts } from "../source.ts";
import { TokenBucket } from "../token-bucket.ts";
import { ApiRefusal, type KubernetesApi } from "./api.ts";
import { mergeSlices, readSlice, type SliceReading, versionOf, type Wanted } from "./slices.ts";
import type { WatchEvent } from "./watch-lines.ts";

export interface KubernetesOptions {
  /** The name of the Service. */
  readonly service: string;
  readonly namespace: string;
  /** A port's name or number in the slices, which are the pods' ports; undefined for the first TCP port. */
  readonly port?: string | number | undefined;
  /** The labels of the slices are wanted as well. */
  readonly labelled?: boolean | undefined;
}

export interface KubernetesParts extends SourceParts {
  /** Shared by all sources of one server. */
  readonly api: KubernetesApi;
}

/** Slices in one answer: each has a hundred endpoints, or up to a thousand. */
const PAGE = 100;
/** More than a cluster can hold; a server that always knows another page is not believed. */
const MOST_PAGES = 1_000;
/** Watches are ended by the server after a time from this range, so that those that began together do not end together. */
const SHORTEST_WATCH_S = 240;
const LONGEST_WATCH_S = 300;
/** What a server may take longer than it was told before it is taken for dead. */
const WATCH_GRACE_MS = 15_000;
/** Slower than with Consul: behind an API server there is one for all of the cluster, and not an agent on each node. */
const BACKOFF = { baseMs: 200, maxMs: 20_000 };
const BURST = 5;
const REQUESTS_PER_SECOND = 0.5;

/** Watches in a row that ended without a word; then all is listed again, as something on the way may swallow what they say. */
const MOST_WORDLESS = 5;

/** The watch cannot go on from the version that is known: it has been forgotten, and nothing is wrong. */
class TooOld extends Error {}

export class KubernetesSource implements Source {
  readonly name: string;
  readonly #options: KubernetesOptions;
  readonly #parts: KubernetesParts;
  readonly #wanted: Wanted;
  readonly #stopped = new AbortController();
  #sink: Sink | undefined;
  #slices = new Map<string, SliceReading>();
  /** Where a watch may begin; undefined when all must be listed first. */
  #version: string | undefined;
  /** In a row, not counting lists: a list that works and a watch that does not is a failure still. */
  #failures = 0;
  /** Watches in a row that ended without a word. */
  #wordless = 0;
  /** What was last said of slices that are not understood, so that it is said once. */
  #faults = "";

  constructor(options: KubernetesOptions, parts: KubernetesParts) {
    this.name = `kubernetes:${options.namespace}/${options.service}`;
    this.#options = options;
    this.#parts = parts;
    this.#wanted = { port: options.port, source: this.name, labelled: options.labelled };
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#parts.api.retain();
    void this.#follow(sink, this.#stopped.signal);
  }

  stop(): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    if (this.#sink !== undefined) this.#parts.api.release();
  }

  async #follow(sink: Sink, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#parts;
    const bucket = new TokenBucket(BURST, REQUESTS_PER_SECOND, clock.now());
    while (!signal.aborted) {
      const restMs = bucket.take(clock.now());
      if (restMs > 0) await sleep(clock, restMs, signal);
      try {
        if (this.#version === undefined) await this.#list(sink, signal);
        else await this.#watch(this.#version, sink, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        this.#version = undefined;
        this.#failures++;
        if (thrown instanceof TooOld)
          log.info({ source: this.name }, "the watch cannot go on; slices are listed again");
        else sink.silent(this.#reason(thrown));
        // Also after a 410, as a server that has restarted says it to everyone at once.
        const askedMs = thrown instanceof ApiRefusal ? thrown.retryAfterMs : 0;
        await sleep(clock, 50 + askedMs + backoffMs(BACKOFF, this.#failures, random), signal);
      }
    }
  }

  /** Takes in all slices, page by page; what was known stays until the last page has come. */
  async #list(sink: Sink, signal: AbortSignal): Promise<void> {
    const slices = new Map<string, SliceReading>();
    let rest: string | undefined;
    for (let page = 0; page < MOST_PAGES; page++) {
      const query = { limit: String(PAGE), ...(rest === undefined ? {} : { continue: rest }) };
      const answer = await this.#parts.api.list(this.#path, { ...this.#selector, ...query }, signal);
      if (signal.aborted) return;
      const version = versionOf(answer);
      const { kind, items, metadata } = (answer ?? {}) as ListAnswer;
      if (kind !== "EndpointSliceList" || version === undefined || !Array.isArray(items ?? []))
        throw new Error("the API server answers something that is not a list of EndpointSlices");
      for (const item of items ?? []) keep(slices, readSlice(item, this.#wanted));
      rest = metadata?.continue || undefined;
      if (rest !== undefined) continue;
      this.#slices = slices;
      this.#version = version;
      this.#say(sink);
      return;
    }
    throw new Error(`the API server's list has no end after ${MOST_PAGES} pages`);
  }

  /** Returns when the watch ends. */
  async #watch(version: string, sink: Sink, signal: AbortSignal): Promise<void> {
    const { api, random } = this.#parts;
    const seconds = SHORTEST_WATCH_S + below(random, LONGEST_WATCH_S - SHORTEST_WATCH_S + 1);
    const query = {
      ...this.#selector,
      watch: "true",
      resourceVersion: version,
      allowWatchBookmarks: "true",
      timeoutSeconds: String(seconds),
    };
    let wordless = true;
    const watch = api.watch(this.#path, query, seconds * 1000 + WATCH_GRACE_MS, signal);
    try {
      for await (const events of watch) {
        if (signal.aborted) return;
        let changed = false;
        for (const event of events) changed = this.#apply(event) || changed;
        this.#failures = 0;
        wordless = false;
        // Once for all that came together.
        if (changed) this.#say(sink);
      }
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.status === 410) throw new TooOld();
      throw thrown;
    }
    this.#failures = 0;
    this.#wordless = wordless ? this.#wordless + 1 : 0;
    if (this.#wordless < MOST_WORDLESS) return;
    this.#wordless = 0;
    this.#version = undefined;
  }

  /** @returns whether slices have changed */
  #apply(event: WatchEvent): boolean {
    if (event.type === "ERROR") throw new ApiRefusal(event.code, event.message);
    this.#version = event.version;
    if (event.type === "BOOKMARK") return false;
    const slice = readSlice(event.object, this.#wanted);
    if (event.type === "DELETED" && slice !== undefined) return this.#slices.delete(slice.name);
    keep(this.#slices, slice);
    return true;
  }

  #say(sink: Sink): void {
    const faults = [...this.#slices.values()]
      .map(({ fault }) => fault)
      .filter((fault) => fault !== undefined);
    const text = faults.sort().join("; ");
    if (text !== this.#faults && text !== "")
      this.#parts.log.warn({ source: this.name, faults: faults.slice(0, 10) }, "slices that cannot be used");
    this.#faults = text;
    sink.list(mergeSlices(this.#slices.values()));
  }

  get #path(): string {
    return `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(this.#options.namespace)}/endpointslices`;
  }

  get #selector(): Readonly<Record<string, string>> {
    return { labelSelector: `kubernetes.io/service-name=${this.#options.service}` };
  }

  #reason(thrown: unknown): string {
    const { message } = thrown as Error;
    if (!(thrown instanceof ApiRefusal)) return message;
    if (thrown.status === 401)
      return `${message}: the token is missing, has expired or is of another cluster`;
    if (thrown.status !== 403) return message;
    const who = /User "([^"]+)"/.exec(message)?.[1] ?? "the service account";
    return (
      `${who} may not list endpointslices in namespace ${this.#options.namespace}: ` +
      "needs a Role with get, list, watch on endpointslices in discovery.k8s.io"
    );
  }
}

/** What is read of a list beside its version. */
interface ListAnswer {
  readonly kind?: unknown;
  /** Kubernetes may write an empty list as null. */
  readonly items?: readonly unknown[] | null;
  readonly metadata?: { readonly continue?: string };
}

function keep(slices: Map<string, SliceReading>, slice: SliceReading | undefined): void {
  if (slice === undefined) throw new Error("the API server says a slice without a name or version");
  slices.set(slice.name, slice);
}
