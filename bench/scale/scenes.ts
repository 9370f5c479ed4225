/**
 * The scenes: what heddle promises besides CPU time per request. Each proxy takes its turns beside the other, and ratios
 * are medians over rounds.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Figure } from "../figure.ts";
import { median } from "../median.ts";
import { type Ground, LARGE_PATH, type Subject } from "./ground.ts";
import { pace, saturate } from "./loads.ts";

type Scene = (ground: Ground, rounds: number) => Promise<Figure>;

const WARM_UP_S = 4;
const TURN_S = 4;
const QUIET_RATE = 1000;
const QUIET_S = 10;

const one = (value: number) => value.toFixed(1);
const two = (value: number) => value.toFixed(2);

/** Microseconds of CPU per request under as much load as it takes. */
async function cpuPerRequest(proxy: Subject, core: number): Promise<number> {
  const before = proxy.cpuSeconds();
  const { requests } = await saturate(proxy, core, TURN_S);
  return ((proxy.cpuSeconds() - before) * 1e6) / requests;
}

const latency: Scene = async (ground, rounds) => {
  const { loadCore } = ground.machine;
  const proxies = [await ground.nginx(), await ground.heddle()] as const;
  const ratios: number[] = [];
  const seen: string[] = [];
  for (const proxy of proxies) await saturate(proxy, loadCore, WARM_UP_S);
  // The same rate for both, half of what the slower one carries.
  const [, heddle] = [
    await saturate(proxies[0], loadCore, TURN_S),
    await saturate(proxies[1], loadCore, TURN_S),
  ];
  const rate = Math.floor(heddle.requestsPerSecond / 2 / 20) * 20;
  for (let round = 0; round < rounds; round++) {
    const [ofNginx, ofHeddle] = [
      await pace(proxies[0], loadCore, rate, 5),
      await pace(proxies[1], loadCore, rate, 5),
    ];
    ratios.push(ofHeddle / ofNginx);
    seen.push(`${two(ofHeddle)} to ${two(ofNginx)} ms`);
  }
  const ratio = median(ratios);
  return {
    what: `p99 at half of the saturated rate (${rate}/s), to nginx`,
    measured: two(ratio),
    target: "1.5",
    met: ratio <= 1.5,
    from: seen.join(", "),
  };
};

const largeBodies: Scene = async (ground, rounds) => {
  const { loadCore } = ground.machine;
  const proxies = [await ground.nginx(), await ground.heddle()] as const;
  const ratios: number[] = [];
  const seen: string[] = [];
  for (let round = 0; round <= rounds; round++) {
    const [nginx, heddle] = [
      await saturate(proxies[0], loadCore, TURN_S, { path: LARGE_PATH }),
      await saturate(proxies[1], loadCore, TURN_S, { path: LARGE_PATH }),
    ];
    // The first round warms up.
    if (round === 0) continue;
    ratios.push(heddle.requestsPerSecond / nginx.requestsPerSecond);
    seen.push(`${one(heddle.requestsPerSecond)} to ${one(nginx.requestsPerSecond)} MiB/s`);
  }
  const ratio = median(ratios);
  return {
    what: "answers of 1 MiB, throughput to nginx's",
    measured: two(ratio),
    target: "0.6",
    met: ratio >= 0.6,
    from: seen.join(", "),
  };
};

/** RSS in MiB after ten seconds at 1,000 requests/s, of a process of its own. */
async function quietMemory(ground: Ground, more = ""): Promise<number> {
  const proxy = await ground.heddle(more);
  await pace(proxy, ground.machine.loadCore, QUIET_RATE, QUIET_S);
  return proxy.residentMiB();
}

const memory: Scene = async (ground, rounds) => {
  const seen: number[] = [];
  for (let round = 0; round < rounds; round++) seen.push(await quietMemory(ground));
  const megabytes = (median(seen) * 2 ** 20) / 1e6;
  return {
    what: "RSS at 1,000 requests/s",
    measured: `${one(megabytes)} MB`,
    target: "90 MB",
    met: megabytes <= 90,
    from: seen.map((mebibytes) => `${one(mebibytes)} MiB`).join(", "),
  };
};

function upstreams(count: number, endpoints: number): string {
  const address = (n: number) => `127.1.${Math.floor(n / 250)}.${1 + (n % 250)}:80`;
  const list = (from: number) =>
    Array.from({ length: endpoints }, (_, i) => `"${address(from + i)}"`).join(", ");
  const lines = Array.from({ length: count }, (_, i) => `  u${i}: { endpoints: [${list(i * endpoints)}] }`);
  return `upstreams:\n${lines.join("\n")}`;
}

function routes(count: number): string {
  const lines = Array.from(
    { length: count },
    (_, i) => `  - { match: { host: h${i >> 1}, pathPrefix: /p${i} }, to: [{ upstream: bench }] }`,
  );
  return `routes:\n${lines.join("\n")}`;
}

/** What more of something adds to memory and to CPU time per request. */
function flat(what: string, few: string, many: string): Scene {
  return async (ground, rounds) => {
    const grown: number[] = [];
    for (let round = 0; round < rounds; round++)
      grown.push(((await quietMemory(ground, many)) - (await quietMemory(ground, few))) * (2 ** 20 / 1e6));
    const { loadCore } = ground.machine;
    const proxies = [await ground.heddle(few), await ground.heddle(many)] as const;
    for (const proxy of proxies) await saturate(proxy, loadCore, WARM_UP_S);
    const ratios: number[] = [];
    for (let round = 0; round < Math.max(5, rounds); round++) {
      const cpu = [
        await cpuPerRequest(proxies[0], loadCore),
        await cpuPerRequest(proxies[1], loadCore),
      ] as const;
      ratios.push(cpu[1] / cpu[0]);
    }
    const [megabytes, ratio] = [median(grown), median(ratios)];
    return {
      what,
      measured: `${one(megabytes)} MB, ${one((ratio - 1) * 100)} % CPU`,
      target: "10 MB, 5 %",
      met: megabytes < 10 && ratio < 1.05,
      from: `${grown.map(one).join(", ")} MB; ${ratios.map(two).join(", ")}`,
    };
  };
}

const IDLE_CALLERS = 10_000;

/** Callers that have asked once, have had their answer, and stay. */
const idleCallers: Scene = async (ground) => {
  const proxy = await ground.heddle("", ", keepAlive: 10m");
  await saturate(proxy, ground.machine.loadCore, WARM_UP_S);
  const before = proxy.residentMiB();
  const callers: Socket[] = [];
  for (let i = 0; i < IDLE_CALLERS; i++) {
    const socket = connect(proxy.port, "127.0.0.1");
    socket.on("error", () => {});
    callers.push(socket);
    socket.write("GET / HTTP/1.1\r\nHost: bench\r\n\r\n");
    await once(socket, "data");
  }
  await sleep(2_000);
  const megabytes = (proxy.residentMiB() - before) * (2 ** 20 / 1e6);
  const open = callers.filter(({ destroyed, readableEnded }) => !destroyed && !readableEnded).length;
  for (const caller of callers) caller.destroy();
  return {
    what: `${IDLE_CALLERS} idle callers, more RSS`,
    measured: `${one(megabytes)} MB`,
    target: "60 MB",
    met: megabytes < 60 && open === IDLE_CALLERS,
    from: `${open} of them open; from ${one(before)} MiB`,
  };
};

export const SCENES: Readonly<Record<string, Scene>> = {
  latency,
  largeBodies,
  memory,
  endpoints: flat("5,000 endpoints instead of 10", upstreams(1, 6), upstreams(1, 4996)),
  upstreams: flat("5,010 endpoints in 501 upstreams instead of 10", upstreams(1, 6), upstreams(500, 10)),
  routes: flat("1,000 routes instead of 1", routes(1), routes(1000)),
  idleCallers,
};
