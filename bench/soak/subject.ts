/**
 * The sidecar under test: `heddle run --config` as a process of its own, whose log goes to a file and is read from there.
 *
 * Not startSidecar of the tests, which keeps every record: of a million requests that is a gigabyte in the process that makes the load. And not by
 * a pipe: that process is busy, and a log whose reader is slow loses lines, as it should, so that the account would be one of the reader.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Teardown } from "../../test/support/apps.ts";
import { Admin, type LogRecord } from "../../test/support/sidecar.ts";
import { parseResidentBytes } from "../load/usage.ts";
import type { AccessLine } from "./rules.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
/** So that neither a port of somebody else nor a debugger of this machine is met. */
const INSPECTOR = "--inspect-port=127.0.0.1:0";

export interface Subject {
  readonly admin: Admin;
  readonly port: number;
  /**
   * Lines with the level error: a fault outside of any request, a layer that failed, an admin page that did. And what Node said on standard
   * error, such as its warnings.
   */
  readonly errors: readonly string[];
  /** Undefined while it runs. */
  readonly ended: string | undefined;
  residentBytes(): number;
  openFiles(): number;
  /** Opens Node's inspector, and resolves to its address; once. */
  inspector(): Promise<string>;
}

/** @param onAccess called with each line of the access log */
export async function startSubject(
  t: Teardown,
  configuration: object,
  onAccess: (line: AccessLine) => void,
): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-soak-"));
  const file = join(folder, "heddle.yaml");
  const logFile = join(folder, "log");
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(configuration));
  const child = spawn(process.execPath, [HEDDLE, "run", "--config", file], {
    stdio: ["ignore", openSync(logFile, "w"), "pipe"],
    env: { ...process.env, NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} ${INSPECTOR}`.trim() },
  });
  const closed = once(child, "close");
  t.teardown(async () => {
    child.kill("SIGKILL");
    await closed;
    stop();
    rmSync(folder, { recursive: true, force: true });
  });
  let ended: string | undefined;
  child.once("exit", (code, signal) => {
    ended = `it ended with ${signal ?? code}`;
  });
  const said = complaintsOf(child);
  const errors: string[] = [];
  const ready = Promise.withResolvers<LogRecord>();
  const stop = followLines(logFile, (line) => {
    const record = JSON.parse(line) as LogRecord;
    if (record.msg === "request") onAccess(record as unknown as AccessLine);
    else if (record.level === "error") errors.push(line);
    else if (record.msg === "ready") ready.resolve(record);
  });
  void closed.then(() => ready.reject(new Error(`heddle did not become ready: ${said.text()}`)));
  const { admin, outbound } = (await ready.promise) as unknown as Record<
    "admin" | "outbound",
    { host: string; port: number }
  >;
  return {
    admin: new Admin(admin),
    port: outbound.port,
    get errors() {
      return [...errors, ...said.complaints()];
    },
    get ended() {
      return ended;
    },
    residentBytes: () => parseResidentBytes(readFileSync(`/proc/${child.pid}/status`, "utf8")),
    openFiles: () => readdirSync(`/proc/${child.pid}/fd`).length,
    async inspector() {
      child.kill("SIGUSR1");
      return said.until(/ws:\/\/\S+/);
    },
  };
}

/** What it says on its standard error. */
function complaintsOf(child: ChildProcess) {
  let text = "";
  let look = () => {};
  child.stderr!.setEncoding("utf8").on("data", (more: string) => {
    text += more;
    look();
  });
  return {
    text: () => text,
    /** Without what the inspector says. */
    complaints: () =>
      text.split("\n").filter((line) => line !== "" && !/^(?:Debugger |For help, see: )/.test(line)),
    until: (pattern: RegExp) =>
      new Promise<string>((resolve) => {
        look = () => {
          const [found] = pattern.exec(text) ?? [];
          if (found !== undefined) resolve(found);
        };
        look();
      }),
  };
}

const READ_EVERY_MS = 50;
const READ_BYTES = 1024 * 1024;

/** Calls back with each line of a file that is being written, until it is stopped. */
function followLines(file: string, onLine: (line: string) => void): () => void {
  const descriptor = openSync(file, "r");
  const buffer = Buffer.alloc(READ_BYTES);
  let rest: Buffer = Buffer.alloc(0);
  const timer = setInterval(() => {
    const read = readSync(descriptor, buffer, 0, READ_BYTES, null);
    if (read === 0) return;
    const bytes = Buffer.concat([rest, buffer.subarray(0, read)]);
    const end = bytes.lastIndexOf("\n");
    // A character may be cut in two; a line feed is not.
    rest = bytes.subarray(end + 1);
    for (const line of bytes.toString("utf8", 0, end + 1).split("\n")) if (line !== "") onLine(line);
  }, READ_EVERY_MS);
  return () => {
    clearInterval(timer);
    closeSync(descriptor);
  };
}
