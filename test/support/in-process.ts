/**
 * A whole sidecar inside the test's process, on ports that are free, with its log as a list: for promises that
 * need its inside, or that would be slow with a process for each.
 */
import { parseConfig } from "../../config/index.ts";
import { Sidecar, type SidecarAddresses } from "../../proxy/index.ts";
import type { ProcessLog } from "../../telemetry/index.ts";
import type { Teardown } from "./apps.ts";

export interface LogRecord {
  readonly level: string;
  readonly message: string;
  readonly [fact: string]: unknown;
}

export interface InProcess {
  readonly sidecar: Sidecar;
  readonly addresses: SidecarAddresses;
  readonly records: readonly LogRecord[];
  /** One record for each request that has been settled. */
  readonly access: readonly Record<string, unknown>[];
  /** Resolves with the next access record for which `matches` holds, or with one that has come already. */
  logged(matches: (record: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** The text of an admin page. */
  admin(path: string, method?: string): Promise<string>;
  /** The value of one series in /metrics; 0 when it is not there. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

/** @param yaml what the configuration says besides the ports */
export async function startInProcess(t: Teardown, yaml: string): Promise<InProcess> {
  const records: LogRecord[] = [];
  const access: Record<string, unknown>[] = [];
  const waiting = new Set<() => void>();
  const say = (level: string) => (facts: object, message: string) => {
    records.push({ ...facts, level, message });
  };
  const settled = (record: Record<string, unknown>) => {
    access.push(record);
    for (const look of waiting) look();
  };
  const log: ProcessLog = {
    log: { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") },
    writeAccess: (members) => settled(JSON.parse(`{${members}}`)),
    // What workers hand over.
    writeLines: (lines) => {
      for (const line of lines.trimEnd().split("\n")) settled(JSON.parse(line));
    },
    level: "info",
    droppedLines: () => 0,
    async flush() {},
  };
  const sidecar = new Sidecar(parseConfig(withFreePorts(yaml), "test.yaml", {}), log);
  t.teardown(() => sidecar.destroy());
  const addresses = await sidecar.start();
  const admin = async (path: string, method = "GET") => {
    const answer = await fetch(`http://127.0.0.1:${addresses.admin.port}${path}`, { method });
    return answer.text();
  };
  return {
    sidecar,
    addresses,
    records,
    access,
    admin,
    logged: (matches) =>
      new Promise((resolve) => {
        const look = () => {
          const found = access.find(matches);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    async metric(name, labels) {
      return sumOf(await admin("/metrics"), name, labels);
    },
  };
}

/** The sum of a metric in the text of /metrics over the series that have these labels; 0 when there is none. */
export function sumOf(metrics: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return metrics
    .split("\n")
    .filter(
      (line) =>
        (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) &&
        wanted.every((pair) => line.includes(pair)),
    )
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

function withFreePorts(yaml: string): string {
  const missing = (["outbound", "inbound", "admin"] as const).filter(
    (section) => !new RegExp(`^${section}:`, "m").test(yaml),
  );
  return `${yaml}\n${missing.map((section) => `${section}: { listen: 127.0.0.1:0 }`).join("\n")}\n`;
}
