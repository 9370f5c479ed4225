/**
 * The process's log: one JSON line per record on standard output, or on standard error where that belongs to an app,
 * through pino.
 *
 * Written asynchronously with a bound: when the reader of the log stalls, lines are dropped and counted, because
 * a proxy that waits for its log stops the traffic. Lines still in memory are flushed when the process ends.
 */
import { once } from "node:events";
import { destination, type Logger, pino } from "pino";
import type { Log } from "../core/index.ts";
import type { AccessLogWriter } from "./access-log.layer.ts";
import { KEYS } from "./access-log-fields.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Written out in one system call. sonic-boom takes less than 16 KiB. */
const BUFFER_BYTES = 16_000;
/** Lines of the access log are gathered up to here: each write costs a trip to Node's thread pool and back. */
const ACCESS_BATCH_CHARACTERS = 32_000;
const MAX_UNWRITTEN_BYTES = 1024 * 1024;
const FLUSH_EVERY_MS = 1000;

export interface ProcessLog {
  readonly log: Log;
  readonly writeAccess: AccessLogWriter;
  /** Writes lines that have been put together elsewhere, each with its line feed. */
  writeLines(lines: string): void;
  level: LogLevel;
  /** Lines given up because the reader was too slow. */
  droppedLines(): number;
  /** Writes out what is buffered; to be awaited before the process ends. */
  flush(): Promise<void>;
}

/** @param descriptor of standard output or standard error */
export function processLog(level: LogLevel, descriptor: 1 | 2 = 1): ProcessLog {
  const out = destination({
    dest: descriptor,
    sync: false,
    minLength: BUFFER_BYTES,
    maxLength: MAX_UNWRITTEN_BYTES,
    periodicFlush: FLUSH_EVERY_MS,
  });
  let dropped = 0;
  out.on("drop", (lines: string) => {
    dropped += lines.split("\n").length - 1;
  });
  // The reader has gone; losing the log must not stop the traffic.
  out.on("error", () => dropped++);
  const timestamp = isoTimestamp();
  const access = new AccessLines(timestamp, (lines) => out.write(lines));
  const log: Logger = pino(
    { base: null, timestamp, formatters: { level: (label) => ({ level: label }) }, level },
    {
      write(line) {
        // What happened before is read before.
        access.writeOut();
        out.write(line);
      },
    },
  );
  return {
    log,
    writeAccess: (members) => access.add(members),
    writeLines: (lines) => out.write(lines),
    get level() {
      return log.level as LogLevel;
    },
    set level(to: LogLevel) {
      log.level = to;
    },
    droppedLines: () => dropped,
    async flush() {
      access.writeOut();
      const drained = once(out, "drain", { signal: AbortSignal.timeout(FLUSH_EVERY_MS) });
      out.flush();
      await drained.catch(() => {
        // Never flushSync: it repeats a write that fails, as on a full disk, for ever, and holds the process with it.
        // pino would call it once more on exit.
        out.flushSync = () => {};
      });
    },
  };
}

const OPENING = `{${KEYS.level.slice(1)}"info"`;
const CLOSING = `${KEYS.msg}"request"}\n`;

/** Gathers the lines of the access log. In pino's own form, so that both are read alike; by no level, as they are configured. */
export class AccessLines {
  readonly #timestamp: () => string;
  readonly #write: (lines: string) => void;
  #lines = "";

  constructor(timestamp: () => string, write: (lines: string) => void) {
    this.#timestamp = timestamp;
    this.#write = write;
    setInterval(() => this.writeOut(), FLUSH_EVERY_MS).unref();
  }

  add(members: string): void {
    this.#lines += `${OPENING}${this.#timestamp()},${members}${CLOSING}`;
    if (this.#lines.length >= ACCESS_BATCH_CHARACTERS) this.writeOut();
  }

  writeOut(): void {
    if (this.#lines === "") return;
    const lines = this.#lines;
    this.#lines = "";
    this.#write(lines);
  }
}

/** ISO 8601 in UTC, made once for all records of a millisecond: a busy proxy writes twenty of them. */
export function isoTimestamp(): () => string {
  let madeForMs = 0;
  let made = "";
  return () => {
    const nowMs = Date.now();
    if (nowMs !== madeForMs) {
      madeForMs = nowMs;
      made = `${KEYS.time}"${new Date(nowMs).toISOString()}"`;
    }
    return made;
  };
}
