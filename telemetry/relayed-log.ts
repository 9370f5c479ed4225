/**
 * The log of a worker thread: what it says is said by the process's log, in the one thread that writes.
 *
 * Not a second writer of the same file: two threads that write a pipe at once may cut into each other's lines.
 */
import { AccessLines, isoTimestamp, LOG_LEVELS, type LogLevel, type ProcessLog } from "./logger.ts";

type RecordLevel = Exclude<LogLevel, "silent">;

/** The way to the process's log. */
export interface LogRelay {
  readonly record: (level: RecordLevel, facts: object, message: string) => void;
  /** Whole lines of the access log. */
  readonly access: (lines: string) => void;
}

export function relayedLog(level: LogLevel, relay: LogRelay): ProcessLog {
  let least = LOG_LEVELS.indexOf(level);
  const access = new AccessLines(isoTimestamp(), relay.access);
  const at = (recordLevel: RecordLevel) => (facts: object, message: string) => {
    if (LOG_LEVELS.indexOf(recordLevel) < least) return;
    // What happened before is read before.
    access.writeOut();
    relay.record(recordLevel, cloneable(facts), message);
  };
  return {
    log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
    writeAccess: (members) => access.add(members),
    writeLines: relay.access,
    get level() {
      return LOG_LEVELS[least]!;
    },
    set level(to: LogLevel) {
      least = LOG_LEVELS.indexOf(to);
    },
    droppedLines: () => 0,
    async flush() {
      access.writeOut();
    },
  };
}

/** Facts may hold an error with anything attached; what cannot be copied is told as text. */
function cloneable(facts: object): object {
  return Object.fromEntries(
    Object.entries(facts).map(([name, fact]) => [
      name,
      fact instanceof Error ? { type: fact.name, message: fact.message, stack: fact.stack } : plain(fact),
    ]),
  );
}

function plain(fact: unknown): unknown {
  return typeof fact === "object" && fact !== null ? JSON.parse(JSON.stringify(fact)) : fact;
}
