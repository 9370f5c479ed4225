/**
 * Follows a file that lists endpoints: replaced, swapped by links as Kubernetes does with a ConfigMap, edited in
 * place, taken away and brought back.
 *
 * The folder is watched and not the file: a watch on a file stays with what was replaced. And a watch is not relied
 * on: it sees nothing behind a link into another folder, nothing on some network file systems, and nothing at all
 * where the system has no watches left. So the file is also looked at every so often, for the price of one stat.
 *
 * A file may be seen while it is written. What has changed is read when it has been at rest for a moment, and what
 * cannot be believed is read once more before that is said. That is no proof for a writer that pauses in the middle of
 * a line: whoever writes the file does well to replace it as a whole.
 */
import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import type { Timer } from "../../core/index.ts";
import { sleep } from "../sleep.ts";
import type { Sink, Source, SourceParts } from "../source.ts";
import { type Look, look, stampOf } from "./look.ts";

export interface FileOptions {
  /** YAML or JSON. */
  readonly path: string;
  /** How often it is looked at in case its folder cannot be watched. */
  readonly pollMs?: number | undefined;
  /** Tags and metadata are wanted as well. */
  readonly labelled?: boolean | undefined;
}

const DEFAULT_POLL_MS = 2_000;
/** A change is read when nothing has changed for so long, */
const GATHER_MS = 50;
/** and after so many rounds even if it has. */
const MOST_ROUNDS = 20;
/** What cannot be believed is read again after this time. */
const READ_AGAIN_MS = 100;

export class FileSource implements Source {
  readonly name: string;
  readonly #path: string;
  readonly #pollMs: number;
  readonly #labelled: boolean;
  readonly #parts: SourceParts;
  readonly #stopped = new AbortController();
  #watcher: FSWatcher | undefined;
  /** Which folder is watched: its path may lead to another one by now. */
  #watched: string | undefined;
  #isUnwatchedTold = false;
  /** Something has happened in the folder since the last look. */
  #hasNews = false;
  /** And it happened to the file, or may have: it is read even if its stamp is the same. */
  #isNamed = false;
  #gathering: Timer | undefined;
  #wake: () => void = () => {};

  constructor({ path, pollMs = DEFAULT_POLL_MS, labelled = false }: FileOptions, parts: SourceParts) {
    this.name = `file:${path}`;
    // Against the folder that the process was started in, wherever it may go.
    this.#path = resolve(path);
    this.#pollMs = pollMs;
    this.#labelled = labelled;
    this.#parts = parts;
  }

  start(sink: Sink): void {
    void this.#follow(sink, this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
    this.#unwatch();
    this.#gathering?.cancel();
  }

  async #follow(sink: Sink, signal: AbortSignal): Promise<void> {
    let known: Look | undefined;
    while (!signal.aborted) {
      // Before the file is looked at: what happens in between is then news.
      await this.#keepWatching(signal);
      this.#hasNews = false;
      const stamp = await stampOf(this.#path);
      if (known === undefined || this.#isNamed || stamp !== known.stamp) {
        if (known !== undefined) await this.#rested(stamp, signal);
        known = await this.#read(signal);
        if (signal.aborted) return;
        if ("why" in known.outcome) sink.silent(known.outcome.why);
        else sink.list(known.outcome.instances);
      } else if ("why" in known.outcome && !signal.aborted) sink.silent(known.outcome.why);
      await this.#news(signal);
    }
  }

  /** Resolves when the stamp has stayed the same for a moment. */
  async #rested(stamp: string, signal: AbortSignal): Promise<void> {
    let last = stamp;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      await sleep(this.#parts.clock, GATHER_MS, signal);
      const now = await stampOf(this.#path);
      if (now === last || signal.aborted) return;
      last = now;
    }
  }

  async #read(signal: AbortSignal): Promise<Look> {
    this.#isNamed = false;
    const first = await look(this.#path, this.name, this.#labelled);
    if (!("why" in first.outcome) || signal.aborted) return first;
    // Half written, or taken away to be replaced. What happens meanwhile is answered by the second look.
    await sleep(this.#parts.clock, READ_AGAIN_MS, signal);
    this.#isNamed = false;
    return look(this.#path, this.name, this.#labelled);
  }

  /** Resolves when something happened in the folder, and else when it is time to look in any case. */
  #news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (this.#hasNews || this.#isNamed || signal.aborted) {
        resolve();
        return;
      }
      const wake = () => {
        timer.cancel();
        signal.removeEventListener("abort", wake);
        this.#wake = () => {};
        resolve();
      };
      const timer = this.#parts.clock.schedule(this.#pollMs, wake);
      signal.addEventListener("abort", wake);
      this.#wake = wake;
    });
  }

  /** Watches the folder that the path leads to now. */
  async #keepWatching(signal: AbortSignal): Promise<void> {
    const folder = dirname(this.#path);
    let identity: string;
    try {
      const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true });
      // A folder that is made anew may get the number of the one that was removed.
      identity = `${dev}:${ino}:${birthtimeNs}`;
    } catch {
      // There is no folder, which the look at the file will say.
      this.#unwatch();
      return;
    }
    if (signal.aborted || identity === this.#watched) return;
    this.#unwatch();
    try {
      this.#watcher = watch(folder, (_, file) => this.#happened(file));
      this.#watcher.on("error", (thrown) => this.#lose(thrown));
      this.#watched = identity;
    } catch (thrown) {
      this.#lose(thrown);
    }
  }

  #happened(file: string | null): void {
    // Kubernetes swaps `..data`, through which the file is reached. Some systems do not say what it happened to.
    if (file === null || file === basename(this.#path) || file.startsWith("..")) {
      this.#isNamed = true;
      this.#wake();
      return;
    }
    // The file may be a link to this one; but in a busy folder nearly always it is not, so these are gathered.
    this.#gathering ??= this.#parts.clock.schedule(GATHER_MS, () => {
      this.#gathering = undefined;
      this.#hasNews = true;
      this.#wake();
    });
  }

  #lose(thrown: unknown): void {
    this.#unwatch();
    if (this.#isUnwatchedTold) return;
    this.#isUnwatchedTold = true;
    this.#parts.log.warn(
      { source: this.name, err: thrown, pollMs: this.#pollMs },
      "the folder cannot be watched; the file is looked at from time to time",
    );
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = undefined;
  }
}
