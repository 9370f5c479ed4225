/**
 * The app that `heddle run … -- command` starts: it begins when the sidecar is ready, hears of signals, ends when nothing
 * more is asked of it, and its exit code becomes that of the sidecar.
 *
 * It stays in the sidecar's process group, so a terminal is the app's as if it had been started alone. The price is
 * that Ctrl-C reaches both; then it is not passed on, or the app would take it for a second one. As nobody can tell Ctrl-C from
 * a SIGINT for the sidecar alone, an app that is still there late in the grace is asked once more.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import type { Log } from "../core/index.ts";
import type { AppsEnd, SidecarAddresses } from "../proxy/index.ts";
import { pause } from "./pause.ts";

/** As shells have it: 126 what is there cannot be run, 127 there is nothing, 128 and the number of a signal. */
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;
const BY_SIGNAL = 128;

/** When it is told by SIGTERM, as a share of the grace, where its terminal seems to have told it before. */
const REMINDER_SHARE = 0.75;

export class App implements AppsEnd {
  readonly #command: readonly string[];
  readonly #graceMs: number;
  readonly #log: Log;
  #child: ChildProcess | undefined;
  #isOver = false;
  #exitCode = BY_SIGNAL + constants.signals.SIGTERM;
  readonly #ended = Promise.withResolvers<void>();
  /** How it is asked to end; undefined when a terminal has done so. */
  #farewell: NodeJS.Signals | undefined = "SIGTERM";

  /** @param command a program and its arguments; nothing is read as a shell would */
  constructor(command: readonly string[], graceMs: number, log: Log) {
    this.#command = command;
    this.#graceMs = graceMs;
    this.#log = log;
  }

  /** When it has ended, was not to be started any more, or could not be. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Once it has ended. */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** Whether it has been started: from then on signals are its own affair. */
  get hasBegun(): boolean {
    return this.#child !== undefined;
  }

  start(addresses: SidecarAddresses): void {
    if (this.#isOver) return;
    const [program, ...words] = this.#command;
    const cannot = ({ code, message }: NodeJS.ErrnoException) => {
      this.#log.error({ command: program, reason: code ?? message }, "the app cannot be started");
      this.#end(code === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE);
    };
    let child: ChildProcess;
    try {
      child = spawn(program!, words, {
        stdio: "inherit",
        env: { ...process.env, ...whereToCall(addresses) },
      });
    } catch (thrown) {
      // Node tells of some reasons later and throws the others, such as ENOTDIR and E2BIG.
      cannot(thrown as NodeJS.ErrnoException);
      return;
    }
    this.#child = child;
    child.once("spawn", () => this.#log.info({ command: program, appPid: child.pid }, "the app has started"));
    child.once("error", (thrown: NodeJS.ErrnoException) => {
      // Also told when a signal could not be sent.
      if (child.pid === undefined) cannot(thrown);
    });
    child.once("exit", (code, signal) => {
      this.#log.info({ code, signal }, "the app has ended");
      this.#end(code ?? BY_SIGNAL + constants.signals[signal!]);
    });
  }

  /**
   * The next end is asked for by this signal. One that has not been started ends by it, as it would have done alone.
   * @param isKnown whether the app has had it from its terminal
   */
  askedBy(signal: NodeJS.Signals, isKnown: boolean): void {
    if (this.#child === undefined) {
      this.#end(BY_SIGNAL + constants.signals[signal]);
      return;
    }
    this.#farewell = isKnown ? undefined : signal;
    if (isKnown) void pause(this.#graceMs * REMINDER_SHARE).then(() => this.signal("SIGTERM"));
  }

  /** The sidecar is about to end. */
  startNoMore(): void {
    if (this.#child === undefined) this.#end(this.#exitCode);
  }

  /** Nothing more will be asked of it. */
  readonly letGo = (): void => {
    if (this.#farewell !== undefined) this.signal(this.#farewell);
  };

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it now if it has not ended, and resolves when it has. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (this.#isOver || child === undefined) return;
    this.#log.warn({ appPid: child.pid }, "the app has not ended in time; it is killed");
    const exited = once(child, "exit");
    // It is refused where the app has become another user.
    if (child.kill("SIGKILL")) await exited;
    else this.#log.error({ appPid: child.pid }, "the app may not be killed; it is left behind");
  }

  #end(exitCode: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#exitCode = exitCode;
    this.#ended.resolve();
  }
}

/** For apps that would rather be told than agree on numbers, and for ports that the system chooses. */
function whereToCall({ outbound, inbound, admin }: SidecarAddresses): Record<string, string> {
  const url = ({ host, port }: { readonly host: string; readonly port: number }) =>
    `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    HEDDLE_OUTBOUND: url(outbound),
    HEDDLE_ADMIN: url(admin),
    ...(inbound === undefined ? {} : { HEDDLE_INBOUND: url(inbound) }),
  };
}
