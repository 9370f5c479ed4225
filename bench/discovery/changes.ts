/**
 * From a check that changes to the first request that a new instance gets, and to the last that a failed one gets.
 */
import { Agent } from "node:http";
import { call, startApp, type Teardown } from "../../test/support/apps.ts";
import type { Cluster } from "../../test/support/consul-cluster.ts";
import { startSidecar } from "../../test/support/sidecar.ts";
import type { Figure } from "../figure.ts";
import { median } from "../median.ts";

const TIMES = 40;
/** The sidecar must feel it within this time. */
const TARGET_MS = 300;
/** Longer than any change takes: what has not come by then is a fault. */
const LIMIT_MS = 5_000;

export async function changes(t: Teardown, cluster: Cluster): Promise<Figure[]> {
  const [steady, changing] = await Promise.all(
    ["steady", "changing"].map((name) =>
      startApp(t, (_, response) => {
        response.setHeader("x-app", name);
        response.end();
      }),
    ),
  );
  for (const [ID, app] of Object.entries({ steady: steady!, changing: changing! }))
    await cluster.client.tell("/v1/agent/service/register", {
      Name: "orders",
      ID,
      Address: "127.0.0.1",
      Port: app.port,
      Check: { CheckID: `check-${ID}`, TTL: "1h", Status: ID === "steady" ? "passing" : "critical" },
    });
  const { addresses, ...sidecar } = await startSidecar(t, {
    upstreams: { orders: { follow: "always", balancing: { algorithm: "roundRobin" } } },
    discovery: { consul: { address: cluster.client.address } },
    telemetry: { accessLog: false },
  });
  const agent = new Agent({ keepAlive: true });
  const ask = async () => String((await call(addresses.outbound.port, "orders", { agent })).headers["x-app"]);
  const arrivals: number[] = [];
  const departures: number[] = [];
  await ask();
  for (let i = 0; i < TIMES; i++) {
    arrivals.push(await untilSeen(cluster, ask));
    departures.push(await untilUnseen(cluster, ask));
  }
  await sidecar.end();
  agent.destroy();
  return [
    figure("a new instance takes traffic after its check passes", arrivals),
    figure("a failed instance gets its last request after its check fails", departures),
  ];
}

async function untilSeen(cluster: Cluster, ask: () => Promise<string>): Promise<number> {
  const fromMs = performance.now();
  await cluster.client.tell("/v1/agent/check/pass/check-changing");
  while ((await ask()) !== "changing")
    if (performance.now() - fromMs > LIMIT_MS) throw new Error("the instance has not been used");
  return performance.now() - fromMs;
}

/** With round robin every second request goes there: two in a row that do not are the end of it. */
async function untilUnseen(cluster: Cluster, ask: () => Promise<string>): Promise<number> {
  const fromMs = performance.now();
  await cluster.client.tell("/v1/agent/check/fail/check-changing");
  let lastMs = fromMs;
  for (let without = 0; without < 10; ) {
    const askedMs = performance.now();
    if ((await ask()) === "changing") {
      lastMs = askedMs;
      without = 0;
    } else without++;
    if (askedMs - fromMs > LIMIT_MS) throw new Error("the instance is still used");
  }
  return lastMs - fromMs;
}

function figure(what: string, timesMs: readonly number[]): Figure {
  const sorted = [...timesMs].sort((a, b) => a - b);
  const most = sorted.at(-1)!;
  return {
    what,
    measured: `${most.toFixed(0)} ms at most`,
    target: `${TARGET_MS} ms`,
    met: most <= TARGET_MS,
    from: `${timesMs.length} times: median ${median(sorted).toFixed(0)}, least ${sorted[0]!.toFixed(0)} ms`,
  };
}
