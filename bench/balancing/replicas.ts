/**
 * The six replicas of this bench, in a process of their own (ground.ts starts it): six small apps, and before each the
 * inbound sidecar that it has in a mesh.
 *
 * One process and not twelve: on two cores a dozen processes that are all woken by each request would wait for each other, and
 * the tail would be the scheduler's. Work is a timer, which costs next to no CPU; what it takes is drawn from a seed.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseConfig } from "../../config/index.ts";
import type { Random } from "../../core/index.ts";
import { Sidecar } from "../../proxy/index.ts";
import { logInto } from "../../test/support/sidecar.ts";
import { STREAMS, sfc32 } from "../simulate/random.ts";
import { REPLICA_HEADER, type ReplicaPorts, type Work } from "./ground.ts";

const SEED = 1;
/** A service takes its usual time and up to a fifth more or less; in whole milliseconds, as timers count them. */
const JITTER = 0.2;

const { usualMs, atOnce } = JSON.parse(process.argv[2]!) as Work;
const random = sfc32(SEED, STREAMS.services);
const ports: ReplicaPorts[] = [];
for (const [i, ms] of usualMs.entries()) {
  const app = await startApp(i, ms);
  ports.push({ app, sidecar: await startInbound(app) });
}
// None of these is left behind, however the bench ends.
process.on("disconnect", () => process.exit());
process.send!(ports);

/** As many at once as it may; the others wait for their turn. */
async function startApp(replica: number, ms: number): Promise<number> {
  const waiting: ServerResponse[] = [];
  let working = 0;
  const work = (response: ServerResponse) => {
    working++;
    setTimeout(
      () => {
        response.setHeader(REPLICA_HEADER, replica);
        response.end("fine\n");
        working--;
        const next = waiting.shift();
        if (next !== undefined) work(next);
      },
      jittered(ms, random),
    );
  };
  const server = createServer((_, response) => {
    if (atOnce === null || working < atOnce) work(response);
    else waiting.push(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function jittered(ms: number, { next }: Random): number {
  return Math.round(ms * (1 - JITTER + 2 * JITTER * next()));
}

async function startInbound(appPort: number): Promise<number> {
  const listening = { listen: "127.0.0.1:0" };
  const configuration = {
    service: { name: "replica", port: appPort },
    inbound: listening,
    outbound: listening,
    admin: listening,
    telemetry: { accessLog: false },
  };
  const sidecar = new Sidecar(parseConfig(JSON.stringify(configuration), "replica", {}), logInto([]));
  return (await sidecar.start()).inbound!.port;
}
