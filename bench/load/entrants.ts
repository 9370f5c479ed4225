/**
 * Starts the upstream and the contenders, each on its core, and waits until they answer.
 *
 * All of them stay alive for the whole bench: a runtime keeps what it has learned about its hot code, and an
 * idle proxy takes next to nothing from the one whose turn it is.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../test/support/free-ports.ts";
import { isAnswering } from "./ask.ts";
import type { Contender, Setting } from "./contender.ts";
import type { Machine } from "./machine.ts";
import type { Processes, Running } from "./processes.ts";
import { UPSTREAM_PORT_COUNT, upstreamConfig } from "./upstream.ts";

export interface Entrant {
  readonly contender: Contender;
  readonly setting: Setting;
  readonly running: Running;
}

export interface Ground {
  readonly processes: Processes;
  readonly machine: Machine;
  readonly connections: number;
  readonly signal: AbortSignal;
}

export async function startAll(chosen: readonly Contender[], ground: Ground): Promise<readonly Entrant[]> {
  const upstreamPorts = await startUpstream(ground);
  const entrants: Entrant[] = [];
  for (const contender of chosen) entrants.push(await startContender(contender, upstreamPorts, ground));
  return entrants;
}

async function startUpstream({ processes, machine, signal }: Ground): Promise<readonly number[]> {
  const ports = await freePorts(UPSTREAM_PORT_COUNT);
  const configFile = join(processes.folder, "upstream.conf");
  writeFileSync(configFile, upstreamConfig(ports));
  const command = ["nginx", "-p", processes.folder, "-e", "stderr", "-c", configFile];
  const running = processes.start("the upstream", command, machine.loadCore);
  await untilReady(running, new URL(`http://127.0.0.1:${ports[0]}/`), signal);
  return ports;
}

async function startContender(
  contender: Contender,
  upstreamPorts: readonly number[],
  { processes, machine, connections, signal }: Ground,
): Promise<Entrant> {
  const [port = 0, adminPort = 0] = await freePorts(2);
  const configFile = join(processes.folder, `${contender.id}.conf`);
  const setting = { port, adminPort, upstreamPorts, connections, folder: processes.folder, configFile };
  if (contender.config !== undefined) writeFileSync(configFile, contender.config(setting));
  const running = processes.start(contender.name, contender.command(setting), machine.proxyCore);
  await untilReady(running, new URL(contender.readyUrl(setting)), signal);
  return { contender, setting, running };
}

async function untilReady(running: Running, url: URL, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < READY_TRIES; tries += 1) {
    await sleep(READY_PAUSE_MS, undefined, { signal });
    running.assertAlive();
    if (await isAnswering(url, signal)) return;
  }
  throw new Error(`${running.name} is running, but ${url} did not answer 200 in time`);
}

/** At least ten seconds, and at most two minutes if every try waits for its answer in vain. */
const READY_TRIES = 100;
const READY_PAUSE_MS = 100;
