/**
 * A sidecar as users run it: `heddle run --config` as a process of its own, on free ports, ready when its log says so.
 *
 * A process and not only the class, because a signal, an exit code and a sudden death are promises too. What it logs
 * is kept, so that a test can await a record instead of sleeping. For one inside the test's process see in-process.ts.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { SidecarAddresses } from "../../proxy/index.ts";
import type { ProcessLog } from "../../telemetry/index.ts";
import type { Teardown } from "./apps.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

/** A YAML text, taken as it is, or a mapping, in which ports that are not named become free loopback ports. */
export type Configuration = string | Readonly<Record<string, unknown>>;

/** One line of the log. */
export interface LogRecord {
  readonly level: string;
  readonly msg: string;
  readonly [fact: string]: unknown;
}

export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
}

/** The admin port, asked as an operator would. */
export class Admin {
  readonly url: string;

  constructor({ host, port }: { readonly host: string; readonly port: number }) {
    this.url = `http://${host}:${port}`;
  }

  async ask(path: string, method = "GET"): Promise<AdminAnswer> {
    const response = await fetch(this.url + path, { method, headers: { connection: "close" } });
    return { status: response.status, text: await response.text() };
  }

  /** A page that is JSON, such as /endpoints or /requests. */
  async json<Page>(path: string): Promise<Page> {
    return JSON.parse((await this.ask(path)).text);
  }

  /** The series of a metric in one scrape. */
  async series(name: string): Promise<Series[]> {
    const found: Series[] = [];
    for (const line of (await this.ask("/metrics")).text.split("\n")) {
      const [, series, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (series !== name) continue;
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [
        label,
        text,
      ]);
      found.push({ labels: Object.fromEntries(pairs), value: Number(value) });
    }
    return found;
  }

  /** The sum of a metric over all series that have these labels; 0 when there is none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels);
    return (await this.series(name))
      .filter((series) => wanted.every(([label, value]) => series.labels[label] === value))
      .reduce((sum, { value }) => sum + value, 0);
  }
}

export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface SidecarProcess {
  readonly pid: number;
  readonly addresses: SidecarAddresses;
  readonly admin: Admin;
  /** Everything logged so far; the process writes its log out once a second at the latest. */
  readonly records: readonly LogRecord[];
  /** The first record, of those there are or will be, for which this holds. */
  until(isIt: (record: LogRecord) => boolean): Promise<LogRecord>;
  /** Sends a signal and goes on. */
  signal(signal: NodeJS.Signals): void;
  /** Asks it to end, and resolves to its exit code; null when it was killed. */
  end(): Promise<number | null>;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
  /** Its exit code, whoever ends it; null when it was killed. */
  readonly exited: Promise<number | null>;
  /** What the app has written to standard output; nothing where there is none. */
  output(): string;
}

export interface Invocation {
  /** What stands for `heddle`; bin/heddle.js of the checkout where it is not given. */
  readonly program?: readonly [string, ...string[]];
  /** Further words of the command line. */
  readonly words?: readonly string[];
  /** The app that it starts: a program and its arguments. */
  readonly app?: readonly string[];
  /** Further variables of the environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Starts a sidecar process that ends with the test.
 * @throws Error with what it said when it does not become ready
 */
export async function startSidecar(
  t: Teardown,
  configuration: Configuration,
  { program = [process.execPath, HEDDLE], words = [], app, environment = {} }: Invocation = {},
): Promise<SidecarProcess> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-test-"));
  const file = join(folder, "heddle.yaml");
  await writeFile(file, textOf(configuration));
  const behind = app === undefined ? [] : ["--", ...app];
  const [command, ...first] = program;
  const child = spawn(command, [...first, "run", "--config", file, ...words, ...behind], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const exited = once(child, "close");
  const log = followLog(child, exited, app !== undefined);
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await exited;
  };
  t.teardown(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  });
  const addresses = (await log.until((record) => record.msg === "ready")) as LogRecord & SidecarAddresses;
  return {
    pid: child.pid!,
    addresses,
    admin: new Admin(addresses.admin),
    records: log.records,
    until: log.until,
    signal: (signal) => child.kill(signal),
    async end() {
      child.kill("SIGTERM");
      const [code] = await exited;
      return code as number | null;
    },
    kill,
    exited: exited.then(([code]) => code as number | null),
    output: log.other,
  };
}

/** @param hasApp standard output is the app's then, and the log is on standard error, where the app may write, too */
function followLog(child: ChildProcess, exited: Promise<unknown>, hasApp: boolean) {
  const records: LogRecord[] = [];
  const waiting = new Set<(record: LogRecord) => void>();
  let complaints = "";
  const [input, other] = hasApp ? [child.stderr!, child.stdout!] : [child.stdout!, child.stderr!];
  other.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  createInterface({ input }).on("line", (line) => {
    if (hasApp && !line.startsWith('{"level"')) return;
    const record = JSON.parse(line) as LogRecord;
    records.push(record);
    for (const look of waiting) look(record);
  });
  const ended = exited.then((how) => {
    throw new Error(`the sidecar ended (${how}) before it said what was awaited: ${complaints.trim()}`);
  });
  ended.catch(() => {});
  return {
    records,
    other: () => complaints,
    async until(isIt: (record: LogRecord) => boolean): Promise<LogRecord> {
      const found = records.find(isIt);
      if (found !== undefined) return found;
      const { promise, resolve } = Promise.withResolvers<LogRecord>();
      const look = (record: LogRecord) => {
        if (isIt(record)) resolve(record);
      };
      waiting.add(look);
      return Promise.race([promise, ended]).finally(() => waiting.delete(look));
    },
  };
}

/** A log that is a list. */
export function logInto(records: LogRecord[]): ProcessLog {
  const at = (level: string) => (facts: object, msg: string) => {
    records.push({ level, msg, ...facts });
  };
  return {
    log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
    writeAccess: (members) => at("info")(JSON.parse(`{${members}}`), "request"),
    level: "debug",
    writeLines() {},
    droppedLines: () => 0,
    flush: async () => {},
  };
}

function textOf(configuration: Configuration): string {
  if (typeof configuration === "string") return configuration;
  const listening: Record<string, unknown> = {};
  for (const side of ["outbound", "inbound", "admin"])
    listening[side] = { listen: "127.0.0.1:0", ...(configuration[side] as object | undefined) };
  // JSON is YAML.
  return JSON.stringify({ ...configuration, ...listening });
}
