/**
 * A sidecar as a process of its own, as it would stand beside a service: started with a configuration file, ready
 * when it says so on its log, ended by SIGTERM.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { ownCommand } from "../own-program.ts";

/** How long a sidecar may take to drain before it is ended. */
const END_MS = 4_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface SidecarProcess {
  readonly outbound: Address;
  readonly inbound: Address;
  readonly admin: Address;
  end(): Promise<void>;
}

/**
 * @param configuration YAML, written to `file`
 * @throws Error with what the sidecar said when it does not become ready
 */
export async function startSidecar(file: string, configuration: string): Promise<SidecarProcess> {
  await writeFile(file, configuration);
  // In a process group of its own: Ctrl-C reaches the demo, and the demo ends the sidecars in its order.
  const [program, ...words] = ownCommand();
  const child = spawn(program, [...words, "run", "--config", file], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let complaints = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const ready = await readyRecord(child);
  if (ready === undefined) throw new Error(`a sidecar did not start: ${complaints.trim() || "it ended"}`);
  return { ...ready, end: () => end(child) };
}

async function readyRecord(
  child: ChildProcess & { readonly stdout: NodeJS.ReadableStream },
): Promise<Omit<SidecarProcess, "end"> | undefined> {
  const lines = createInterface({ input: child.stdout });
  return new Promise((resolve) => {
    lines.on("line", (line) => {
      const record: unknown = JSON.parse(line);
      if ((record as { msg?: string }).msg === "ready") resolve(record as Omit<SidecarProcess, "end">);
    });
    child.once("exit", () => resolve(undefined));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await exited;
  clearTimeout(patience);
}
