/**
 * Tells systemd where the sidecar is in its life (sd_notify), so that `Type=notify` starts what comes after it when its ports are
 * open, and not when its process is.
 *
 * By systemd's own `systemd-notify`: Node has no datagram sockets of the Unix kind, and two child processes in a life weigh less than
 * calls into the C library that Node names experimental. The price is NotifyAccess=all in the unit, as it is not the main process
 * that speaks (docs/decisions/0020-systemd-is-told-by-its-own-command.md).
 */
import { spawn } from "node:child_process";
import type { Log } from "../core/index.ts";

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #log: Log;

  /**
   * Takes NOTIFY_SOCKET out of the environment: an app that is started with the sidecar must not speak for it.
   * @param environment the process's own
   */
  constructor(environment: NodeJS.ProcessEnv, log: Log) {
    this.#socket = environment["NOTIFY_SOCKET"];
    this.#log = log;
    delete environment["NOTIFY_SOCKET"];
  }

  /** @param status one line for `systemctl status` */
  ready(status: string): void {
    this.#tell("READY=1", `STATUS=${status}`);
  }

  stopping(): void {
    this.#tell("STOPPING=1", "STATUS=draining");
  }

  #tell(...words: readonly string[]): void {
    if (this.#socket === undefined) return;
    const child = spawn("systemd-notify", words, {
      stdio: "ignore",
      env: { ...process.env, NOTIFY_SOCKET: this.#socket },
    });
    const told = { told: words[0] };
    child.once("error", ({ message }) =>
      this.#log.warn({ ...told, reason: message }, "systemd cannot be told"),
    );
    child.once("exit", (code) => {
      if (code !== 0) this.#log.warn({ ...told, reason: `exit code ${code}` }, "systemd cannot be told");
    });
  }
}
