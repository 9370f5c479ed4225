/**
 * What it costs to follow fifty services of a hundred instances each, beside a sidecar that follows none.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Teardown } from "../../test/support/apps.ts";
import type { Cluster } from "../../test/support/consul-cluster.ts";
import { eventually } from "../../test/support/eventually.ts";
import { type SidecarProcess, startSidecar } from "../../test/support/sidecar.ts";
import type { Figure } from "../figure.ts";

const SERVICES = 50;
const INSTANCES = 100;
const TARGET_BYTES = 25e6;
/** How long the sidecar is watched while nothing happens. */
const IDLE_MS = 90_000;
/** What the registry may be asked: once in this time for each service. */
const ASKED_EVERY_MS = 30_000;
/** Before memory is read: the collector has had its time. */
const SETTLED_MS = 15_000;

export async function mesh(t: Teardown, cluster: Cluster): Promise<Figure[]> {
  const names = Array.from({ length: SERVICES }, (_, i) => `service-${i}`);
  await register(cluster, names);
  const start = (follow: "always" | "called") =>
    startSidecar(t, {
      upstreams: Object.fromEntries(names.map((name) => [name, { follow }])),
      discovery: { consul: { address: cluster.client.address } },
      telemetry: { accessLog: false },
    });
  const [following, idle] = await Promise.all([start("always"), start("called")]);
  // By the log: being asked for metrics takes memory, too, and more for who has more to tell.
  const known = () => following.records.filter((record) => record["endpoints"] === INSTANCES).length;
  await eventually("all instances", async () => known() >= SERVICES);
  await sleep(SETTLED_MS);
  const more = residentBytes(following) - residentBytes(idle);
  const asked = () => following.admin.metric("heddle_discovery_questions_total", { outcome: "answered" });
  const before = { asked: await asked(), cpuMs: await cpuMs(following), atMs: performance.now() };
  await sleep(IDLE_MS);
  const passedMs = performance.now() - before.atMs;
  const questions = (await asked()) - before.asked;
  const perService = (questions / SERVICES) * (ASKED_EVERY_MS / passedMs);
  const share = ((await cpuMs(following)) - before.cpuMs) / passedMs;
  await Promise.all([following.end(), idle.end()]);
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    {
      what: `${SERVICES} services of ${INSTANCES} instances each followed, memory`,
      measured: `${megabytes(more)} more`,
      target: megabytes(TARGET_BYTES),
      met: more < TARGET_BYTES,
      from: "resident, beside a sidecar with the same configuration that follows none",
    },
    {
      what: "the same, questions to the agent while nothing changes",
      measured: `${perService.toFixed(2)} per service in 30 s`,
      target: "1 per service in 30 s",
      met: perService < 1,
      from: `${questions} questions in ${(passedMs / 1000).toFixed(0)} s, ${(share * 100).toFixed(2)} % of a core`,
    },
  ];
}

/** In transactions, as it would be thousands of calls otherwise. */
async function register(cluster: Cluster, names: readonly string[]): Promise<void> {
  for (let n = 0; n < INSTANCES; n++) {
    const Node = `node-${n}`;
    await cluster.server.tell("/v1/catalog/register", { Node, Address: `10.1.0.${n + 1}` });
    const operations = names.map((Service, i) => ({
      Service: {
        Verb: "set",
        Node,
        Service: {
          ID: `${Service}-${n}`,
          Service,
          Port: 8000 + i,
          Meta: { zone: `z${n % 3}`, version: "1.2.3" },
        },
      },
    }));
    const checks = names.map((Service) => ({
      Check: {
        Verb: "set",
        Check: {
          Node,
          CheckID: `check:${Service}-${n}`,
          Name: "http",
          Status: "passing",
          ServiceID: `${Service}-${n}`,
          Output: "HTTP GET http://10.1.0.1:8000/health: 200 OK Output: fine",
        },
      },
    }));
    // Consul takes 64 operations at a time.
    for (const some of [operations, checks]) await cluster.server.tell("/v1/txn", some);
  }
}

function residentBytes({ pid }: SidecarProcess): number {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
  return Number(pages) * 4096;
}

function cpuMs({ admin }: SidecarProcess): Promise<number> {
  return admin.metric("process_cpu_seconds_total").then((seconds) => seconds * 1000);
}
