/**
 * The last good list of every source, in memory and, if a file is named, on disk: for a source that is followed again
 * after a while, and for a start without a registry.
 *
 * The file is written as a whole beside the old one and moved over it, so that it is never half a file, also when two
 * write the same; it carries a checksum, so that one that was damaged all the same is told from a good one. It is not read
 * again while heddle runs, and a file that cannot be used is moved aside, not overwritten.
 */
import { readFileSync, renameSync } from "node:fs";
import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Log, Timer } from "../../core/index.ts";
import type { Instance } from "../source.ts";

export interface LastGoodParts {
  readonly clock: Clock;
  /** Milliseconds since 1970: ages must mean something after a restart. */
  readonly wallClock: () => number;
  readonly log: Log;
}

export interface Recalled {
  readonly instances: readonly Instance[];
  readonly ageMs: number;
}

interface Kept {
  /** As JSON: as long as nobody needs them, thousands of objects are one text. */
  readonly text: string;
  savedAtMs: number;
  /** `savedAtMs` as the file has it. */
  writtenMs: number;
}

/** Changes within this time are written together. */
const WRITE_AFTER_MS = 1_000;
/** A list that does not change is confirmed on disk that often. */
const CONFIRM_MS = 60_000;
const VERSION = 1;
/** A clock that was set back must not make a copy young for ever. */
const MOST_FROM_THE_FUTURE_MS = 60_000;
/** Notes have no age at which they are forgotten, and callers choose the names of some: the oldest go. */
const MOST_NOTES = 4_096;

export class LastGood {
  readonly #file: string | undefined;
  readonly #keepForMs: number;
  readonly #parts: LastGoodParts;
  readonly #lists = new Map<string, Kept>();
  /** Other things that a start without a registry needs, such as the definition of a sidecar. */
  readonly #notes = new Map<string, { readonly text: string; readonly savedAtMs: number }>();
  #stopped = false;
  #due: Timer | undefined;
  #writing: Promise<void> | undefined;
  #changed = false;
  #failed = false;

  /**
   * @param file undefined keeps in memory only
   * @param keepForMs lists that are older are forgotten
   */
  constructor(file: string | undefined, keepForMs: number, parts: LastGoodParts) {
    this.#file = file;
    this.#keepForMs = keepForMs;
    this.#parts = parts;
    if (file !== undefined) this.#read(file);
  }

  /** The source has confirmed these; nobody is nothing to be kept. */
  remember(source: string, instances: readonly Instance[]): void {
    const kept = this.#lists.get(source);
    if (instances.length === 0) {
      if (this.#lists.delete(source)) this.#writeSoon();
      return;
    }
    const nowMs = this.#parts.wallClock();
    // Neither their order nor the words of a check make another list of it.
    const texts = instances.map(({ note: _, ...instance }) => JSON.stringify(instance));
    const text = `[${texts.sort().join()}]`;
    if (kept?.text === text) kept.savedAtMs = nowMs;
    else {
      if (kept === undefined) this.#forgetOld();
      this.#lists.set(source, { text, savedAtMs: nowMs, writtenMs: Number.NEGATIVE_INFINITY });
    }
    const writtenMs = this.#lists.get(source)!.writtenMs;
    if (Math.abs(nowMs - writtenMs) >= CONFIRM_MS) this.#writeSoon();
  }

  /** What the source said last, unless that is too old. */
  recall(source: string): Recalled | undefined {
    const kept = this.#lists.get(source);
    if (kept === undefined) return undefined;
    const ageMs = this.#age(kept.savedAtMs);
    if (ageMs > this.#keepForMs) return undefined;
    return { instances: JSON.parse(kept.text) as Instance[], ageMs };
  }

  /** Keeps any plain value beside the lists. */
  note(name: string, value: unknown): void {
    const text = JSON.stringify(value);
    const before = this.#notes.get(name);
    // Behind all others, as it is the last that is of use to anybody.
    this.#notes.delete(name);
    this.#notes.set(name, before?.text === text ? before : { text, savedAtMs: this.#parts.wallClock() });
    if (before?.text === text) return;
    for (const oldest of this.#notes.keys()) {
      if (this.#notes.size <= MOST_NOTES) break;
      this.#notes.delete(oldest);
    }
    this.#writeSoon();
  }

  /** What was noted last; however old, as what it describes does not move by itself. */
  noted(name: string): unknown {
    const noted = this.#notes.get(name);
    return noted === undefined ? undefined : JSON.parse(noted.text);
  }

  /** Writes what has not been written. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#due?.cancel();
    this.#due = undefined;
    await this.#writing;
    if (this.#changed) await this.#write();
  }

  #age(savedAtMs: number): number {
    const ageMs = this.#parts.wallClock() - savedAtMs;
    return ageMs < -MOST_FROM_THE_FUTURE_MS ? Number.POSITIVE_INFINITY : Math.max(0, ageMs);
  }

  #writeSoon(): void {
    this.#changed = true;
    if (this.#file === undefined || this.#due !== undefined || this.#stopped) return;
    this.#due = this.#parts.clock.schedule(WRITE_AFTER_MS, () => {
      this.#due = undefined;
      // One at a time: what changes meanwhile is written by the next.
      this.#writing = (this.#writing ?? Promise.resolve()).then(() => this.#write());
    });
  }

  async #write(): Promise<void> {
    if (this.#file === undefined) return;
    this.#changed = false;
    this.#forgetOld();
    const lists = [...this.#lists].map(([source, kept]) => ({ source, kept, savedAtMs: kept.savedAtMs }));
    const body = JSON.stringify({
      lists: Object.fromEntries(
        lists.map(({ source, kept, savedAtMs }) => [source, { text: kept.text, savedAtMs }]),
      ),
      notes: Object.fromEntries(this.#notes),
    });
    try {
      await replaceFile(
        this.#file,
        `${JSON.stringify({ heddle: VERSION, sha256: digest(body) })}\n${body}\n`,
      );
      for (const { kept, savedAtMs } of lists) kept.writtenMs = savedAtMs;
      this.#failed = false;
    } catch (err) {
      // What is confirmed or changes next brings the next attempt.
      this.#changed = true;
      if (!this.#failed)
        this.#parts.log.warn({ file: this.#file, err }, "the copy of the endpoints could not be written");
      this.#failed = true;
    }
  }

  #forgetOld(): void {
    for (const [source, { savedAtMs }] of this.#lists)
      if (this.#age(savedAtMs) > this.#keepForMs) this.#lists.delete(source);
  }

  #read(file: string): void {
    const { log } = this.#parts;
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== "ENOENT")
        log.warn({ file, err }, "the copy of the endpoints could not be read");
      return;
    }
    try {
      this.#take(text);
    } catch (err) {
      const aside = `${file}.damaged`;
      log.warn({ file, aside, err }, "the copy of the endpoints cannot be used; it is moved aside");
      try {
        renameSync(file, aside);
      } catch (thrown) {
        log.warn({ file, err: thrown }, "the copy of the endpoints could not be moved aside");
      }
    }
  }

  /** @throws Error that says what is wrong with it */
  #take(text: string): void {
    const end = text.indexOf("\n");
    const head = JSON.parse(text.slice(0, Math.max(0, end))) as { heddle?: unknown; sha256?: unknown };
    const body = text.slice(end + 1).replace(/\n$/, "");
    if (head.heddle !== VERSION)
      throw new Error(`expected version ${VERSION}, got ${JSON.stringify(head.heddle)}`);
    if (head.sha256 !== digest(body)) throw new Error("expected the text that its checksum was made of");
    const { lists, notes } = JSON.parse(body) as Record<"lists" | "notes", Record<string, Kept>>;
    for (const [source, { text: list, savedAtMs }] of Object.entries(lists))
      this.#lists.set(source, { text: list, savedAtMs, writtenMs: savedAtMs });
    for (const [name, { text: note, savedAtMs }] of Object.entries(notes))
      this.#notes.set(name, { text: note, savedAtMs });
  }
}

/** All of it or nothing; what has come before is in its place until then. */
async function replaceFile(path: string, text: string): Promise<void> {
  // In a folder of its own beside the file, and not only under another name: two that write at the same time, perhaps in
  // two containers that share a volume and a process id, must not write into each other's file.
  const folder = await mkdtemp(`${path}.new-`);
  try {
    const beside = join(folder, "copy");
    // Addresses of a mesh are nobody else's business.
    const file = await open(beside, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } finally {
    await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}

function digest(text: string): string {
  return process.getBuiltinModule("node:crypto").createHash("sha256").update(text).digest("hex");
}
