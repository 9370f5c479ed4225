/**
 * `heddle demo`: a small mesh on this machine. Two services, three replicas of one of them, a sidecar process
 * beside each, a little traffic, and a table of who served what, until Ctrl-C.
 *
 * The apps live in this process, since they only have to be called; the sidecars are real processes, since they
 * are what is shown.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Arguments, UsageError } from "../command.ts";
import { isFree } from "../free-port.ts";
import { USUAL_PORTS } from "../usual-ports.ts";
import { type App, ORDERS, startOrders, startWeb } from "./apps.ts";
import { type SidecarProcess, startSidecar } from "./sidecar-process.ts";
import { alignColumns, livePlace } from "./table.ts";
import { startTraffic, type Traffic } from "./traffic.ts";

const SHOW_EVERY_MS = process.stdout.isTTY ? 500 : 2_000;

export async function demo({ options }: Arguments): Promise<number> {
  const rate = wholeNumber(options["rate"], "--rate", 0, 1000);
  const seconds =
    options["seconds"] === undefined ? undefined : wholeNumber(options["seconds"], "--seconds", 1, 86_400);
  const { promise: asked, resolve: end } = untilAsked();
  const mesh = new Mesh();
  try {
    process.stdout.write("starting two services and four sidecars...\n");
    await Promise.race([mesh.start(), asked]);
    if (mesh.web === undefined) return 0;
    process.stdout.write(invitation(mesh.web));
    // Counted from here: how long a start takes is the machine's affair.
    if (seconds !== undefined) setTimeout(end, seconds * 1000).unref();
    mesh.traffic = startTraffic(mesh.web.inbound.port, rate);
    const show = livePlace(process.stdout);
    const shown = setInterval(() => mesh.table().then(show, () => {}), SHOW_EVERY_MS);
    await asked;
    clearInterval(shown);
    process.stdout.write("\nending...\n");
    return 0;
  } catch (thrown) {
    process.stderr.write(`heddle demo: ${(thrown as Error).message}\n`);
    return 1;
  } finally {
    await mesh.end();
  }
}

class Mesh {
  web: SidecarProcess | undefined;
  traffic: Traffic | undefined;
  readonly #apps: App[] = [];
  readonly #sidecars: SidecarProcess[] = [];
  #folder: string | undefined;
  #starting: Promise<void> = Promise.resolve();
  #ending = false;

  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "heddle-demo-"));
    this.#folder = folder;
    const replicas = await Promise.all(
      ORDERS.map(async (behaviour, i) => {
        const app = await startOrders(i + 1, behaviour);
        this.#apps[i] = app;
        const file = join(folder, `orders-${i + 1}.yaml`);
        return this.#add(await startSidecar(file, ordersConfiguration(app.port)));
      }),
    );
    let outboundPort = 0;
    const webApp = await startWeb(() => outboundPort);
    this.#apps.push(webApp);
    if (this.#ending) return;
    const ports = await webPorts();
    const web = await startSidecar(join(folder, "web.yaml"), webConfiguration(webApp.port, ports, replicas));
    outboundPort = this.#add(web).outbound.port;
    this.web = web;
  }

  /** Who served what: as the replicas counted it, and as the sidecar of `web` sees them. */
  async table(): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${this.web!.admin.port}/endpoints`);
    const {
      orders: { endpoints: orders },
    } = (await answer.json()) as {
      orders: {
        endpoints: { address: string; breaker: string; inFlight: number; latencyMs: number }[];
      };
    };
    const rows = ORDERS.map(({ about }, i) => {
      const { served, failed } = this.#apps[i]!;
      const seen = orders[i]!;
      return [
        `orders ${i + 1}`,
        about,
        seen.address,
        served,
        failed,
        seen.inFlight,
        Math.round(seen.latencyMs),
        seen.breaker,
      ];
    });
    const head = [
      "replica",
      "behaviour",
      "sidecar",
      "served",
      "failed",
      "in flight",
      "latency ms",
      "breaker",
    ];
    const { sent, succeeded, failed } = this.traffic!;
    const callers = `callers of web: ${sent} requests, ${succeeded} answered 200, ${failed} failed`;
    return `\n${alignColumns([head, ...rows])}\n\n${callers}`;
  }

  async end(): Promise<void> {
    this.#ending = true;
    this.traffic?.stop();
    // What is still starting is waited for, so that it can be ended.
    await this.#starting.catch(() => {});
    await Promise.all(this.#sidecars.map((sidecar) => sidecar.end()));
    for (const app of this.#apps) app?.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  #add(sidecar: SidecarProcess): SidecarProcess {
    this.#sidecars.push(sidecar);
    return sidecar;
  }
}

function ordersConfiguration(appPort: number): string {
  return `service: { name: orders, port: ${appPort} }
inbound: { listen: 127.0.0.1:0 }
outbound: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
telemetry: { accessLog: false }
shutdown: { grace: 1s }
`;
}

function webConfiguration(appPort: number, ports: WebPorts, replicas: readonly SidecarProcess[]): string {
  return `service: { name: web, port: ${appPort} }
inbound: { listen: 127.0.0.1:${ports.inbound} }
outbound: { listen: 127.0.0.1:${ports.outbound} }
admin: { listen: 127.0.0.1:${ports.admin} }
upstreams:
  orders:
    endpoints: [${replicas.map(({ inbound }) => `127.0.0.1:${inbound.port}`).join(", ")}]
telemetry: { accessLog: false }
shutdown: { grace: 1s }
`;
}

type WebPorts = Readonly<Record<keyof typeof USUAL_PORTS, number>>;

/** The ports that operators know, if all of them are free; else any: a sidecar on some of them would be hard to find. */
async function webPorts(): Promise<WebPorts> {
  const free = await Promise.all(Object.values(USUAL_PORTS).map(isFree));
  return free.every(Boolean) ? USUAL_PORTS : { inbound: 0, outbound: 0, admin: 0 };
}

function invitation({ inbound, outbound, admin }: SidecarProcess): string {
  return `
Try, in another terminal:
  curl http://127.0.0.1:${inbound.port}/                    web, which calls orders, as its callers see it
  curl -H 'Host: orders' http://127.0.0.1:${outbound.port}/  orders, as web calls it
  curl http://127.0.0.1:${admin.port}/endpoints           what the sidecar of web knows of the replicas
  curl http://127.0.0.1:${admin.port}/metrics             and /stack, /requests, /config, /ready

Ctrl-C ends it.
`;
}

/** Resolves on Ctrl-C or SIGTERM, or when it is told to. */
function untilAsked(): PromiseWithResolvers<void> {
  const asked = Promise.withResolvers<void>();
  // Kept for good: a second Ctrl-C must not end the demo before it has ended its sidecars.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => asked.resolve());
  // Nobody is looking any more.
  process.stdout.on("error", () => asked.resolve());
  return asked;
}

function wholeNumber(
  given: string | boolean | undefined,
  option: string,
  least: number,
  most: number,
): number {
  const value = Number(given);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageError(
      `${option}: expected a whole number from ${least} to ${most}, got ${JSON.stringify(given)}`,
    );
  return value;
}
