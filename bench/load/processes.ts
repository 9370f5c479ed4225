/**
 * The processes that the bench starts, each pinned to a core, and the one temporary folder they write to.
 *
 * Every process leads a group of its own. So Ctrl-C reaches only the bench, which ends the others in order;
 * and what a process has started itself can be ended with it, by its number and never by its name.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Running {
  readonly name: string;
  readonly processId: number;
  /** Throws, with the last lines it wrote, when the process has ended. */
  assertAlive(): void;
}

export class Processes implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
  readonly #children: ChildProcess[] = [];
  /** For the ways out that do not wait, such as an exception nobody caught. */
  readonly #atExit = () => this.#endNow();

  constructor() {
    process.on("exit", this.#atExit);
  }

  /** Runs `command` from the root of the checkout; what it writes to stdout is discarded. */
  start(name: string, command: readonly string[], core: number): Running {
    const logFile = join(this.folder, `${this.#children.length}.log`);
    const log = openSync(logFile, "w");
    const child = spawn("taskset", ["-c", String(core), ...command], {
      cwd: join(import.meta.dirname, "../.."),
      detached: true,
      stdio: ["ignore", "ignore", log],
    });
    closeSync(log);
    this.#children.push(child);
    // Without a listener the fault would be thrown at nobody; assertAlive reports it.
    child.on("error", () => {});

    const assertAlive = () => {
      if (child.pid !== undefined && !hasEnded(child)) return;
      const how = child.signalCode ?? `exit code ${child.exitCode ?? "none"}`;
      throw new Error(`${name} ended by itself (${how})\n${lastLines(logFile)}`.trimEnd());
    };
    return { name, processId: child.pid ?? -1, assertAlive };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = this.#children.filter((child) => !hasEnded(child)).map((child) => once(child, "exit"));
    for (const child of this.#children) child.kill("SIGTERM");
    await Promise.race([Promise.all(ends), sleep(END_GRACE_MS, undefined, { ref: false })]);
    this.#endNow();
    process.off("exit", this.#atExit);
  }

  #endNow(): void {
    for (const child of this.#children) {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // The group is empty, as it should be.
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const END_GRACE_MS = 2000;

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function lastLines(file: string): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-10).join("\n");
}
