/**
 * What every scene of this bench stands on: an upstream on four ports, nginx as a proxy, and heddle with a
 * configuration of its own for each scene.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../test/support/free-ports.ts";
import { isAnswering } from "../load/ask.ts";
import { nginxConfig, nginxPreamble } from "../load/configs.ts";
import type { Machine } from "../load/machine.ts";
import type { Processes, Running } from "../load/processes.ts";
import { BODY } from "../load/upstream.ts";
import { processTree, usageOf } from "../load/usage.ts";

const LARGE_BYTES = 1024 * 1024;
export const LARGE_PATH = "/large";

/** A proxy that is measured. */
export interface Subject {
  readonly name: string;
  readonly port: number;
  readonly processId: number;
  /** CPU time so far, in seconds. */
  cpuSeconds(): number;
  residentMiB(): number;
}

export class Ground {
  readonly machine: Machine;
  readonly upstreamPorts: readonly number[];
  readonly #processes: Processes;
  #started = 0;

  private constructor(processes: Processes, machine: Machine, upstreamPorts: readonly number[]) {
    this.#processes = processes;
    this.machine = machine;
    this.upstreamPorts = upstreamPorts;
  }

  static async prepare(processes: Processes, machine: Machine): Promise<Ground> {
    const ports = await freePorts(4);
    const ground = new Ground(processes, machine, ports);
    const files = join(processes.folder, "files");
    mkdirSync(files);
    writeFileSync(join(files, "large"), Buffer.alloc(LARGE_BYTES, "heddle "));
    const config = `${nginxPreamble("upstream.pid")}
  server {
${ports.map((port) => `    listen 127.0.0.1:${port};`).join("\n")}
    location = ${LARGE_PATH} { root ${files}; }
    location / { return 200 ${JSON.stringify(BODY.trimEnd())}; }
  }
}
`;
    await ground.#nginx("the upstream", config, machine.loadCore, ports[0]!);
    return ground;
  }

  async nginx(): Promise<Subject> {
    const [port = 0] = await freePorts(1);
    const { folder } = this.#processes;
    const setting = {
      port,
      adminPort: 0,
      upstreamPorts: this.upstreamPorts,
      connections: 64,
      folder,
      configFile: "",
    };
    const running = await this.#nginx("nginx", nginxConfig(setting), this.machine.proxyCore, port);
    return this.#subject("nginx", port, running, 1);
  }

  /**
   * @param more what the configuration says besides its ports, its one used upstream and its telemetry
   * @param program what stands for `heddle`
   */
  async heddle(
    more = "",
    listener = "",
    program: readonly string[] = [process.execPath, "bin/heddle.js"],
  ): Promise<Subject> {
    const [port = 0, adminPort = 0] = await freePorts(2);
    const file = join(this.#processes.folder, `heddle-${this.#started++}.yaml`);
    const endpoints = this.upstreamPorts.map((upstreamPort) => `127.0.0.1:${upstreamPort}`).join(", ");
    writeFileSync(
      file,
      `outbound: { listen: 127.0.0.1:${port}${listener} }
admin: { listen: 127.0.0.1:${adminPort} }
telemetry: { accessLog: false, logLevel: warn }
${more.includes("upstreams:") ? more.replace("upstreams:", `upstreams:\n  bench: { endpoints: [${endpoints}] }`) : `upstreams: { bench: { endpoints: [${endpoints}] } }\n${more}`}
`,
    );
    const command = [...program, "run", "--config", file];
    const running = this.#processes.start("heddle", command, this.machine.proxyCore);
    await ready(running, `http://127.0.0.1:${adminPort}/ready`);
    return this.#subject("heddle", port, running, 0);
  }

  async #nginx(name: string, config: string, core: number, port: number): Promise<Running> {
    const { folder } = this.#processes;
    const file = join(folder, `${name.replaceAll(" ", "-")}.conf`);
    writeFileSync(file, config);
    const running = this.#processes.start(name, ["nginx", "-p", folder, "-e", "stderr", "-c", file], core);
    await ready(running, `http://127.0.0.1:${port}/`);
    return running;
  }

  /** @param skipped how many processes of the tree only watch over the others */
  #subject(name: string, port: number, running: Running, skipped: number): Subject {
    const usage = () => usageOf(processTree(running.processId).slice(skipped));
    return {
      name,
      port,
      processId: running.processId,
      cpuSeconds: () => usage().cpuTicks / this.machine.ticksPerSecond,
      residentMiB: () => usage().residentBytes / 2 ** 20,
    };
  }
}

/** @throws Error when it does not answer within ten seconds */
export async function ready(running: Running, url: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    await sleep(100);
    running.assertAlive();
    if (await isAnswering(new URL(url), AbortSignal.timeout(5_000))) return;
  }
  throw new Error(`${running.name} is running, but ${url} did not answer 200 in time`);
}
