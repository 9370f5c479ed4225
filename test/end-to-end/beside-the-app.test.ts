/**
 * `heddle run … -- app`: an app that is there for as long as its sidecar serves it, and never without it.
 *
 * `HEDDLE_LIVES=100` lives as many lives as the first test is asked for; fewer keep the suite short.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { rawClient } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
const LIVES = Number(process.env["HEDDLE_LIVES"] ?? 4);
const NOBODY = { orders: { endpoints: ["127.0.0.1:1"] } };

/**
 * Calls a peer before anything else, serves /call by calling the peer slowly, and calls the peer at last when it is asked to
 * end and nothing is under way. Tells all on standard output.
 */
const APP = `
  import { createServer } from "node:http";
  const { request } = await import("node:http");
  const { port } = new URL(process.env.HEDDLE_OUTBOUND);
  const get = (path) => new Promise((resolve) => {
    request({ port, path, headers: { host: "orders" }, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => { text += part; }).on("end", () => resolve(answer.statusCode + " " + text));
    }).on("error", (error) => resolve(error.code)).end();
  });
  console.log("first", await get("/first"));
  const server = createServer(async (_, response) => response.end(await get("/slow")));
  server.listen(process.argv[2], "127.0.0.1", () => console.log("serving"));
  process.on("SIGTERM", async () => {
    console.log("asked to end");
    server.close();
    await new Promise((resolve) => setTimeout(resolve, 30));
    console.log("last", await get("/last"));
    process.exit(5);
  });
`;

test(`the app's first call and its last one are answered, and so is who called it, in ${LIVES} of ${LIVES} lives`, async (t) => {
  const asked = new Set<() => void>();
  const peer = await startApp(t, (request, response) => {
    const answer = () => response.end(`peer ${request.url}`);
    if (request.url !== "/slow") return answer();
    asked.add(answer);
  });
  const folder = t.testdir({ "app.mjs": APP });
  const app = [process.execPath, join(folder, "app.mjs")];
  for (let life = 0; life < LIVES; life++) {
    const port = await freePort();
    const sidecar = await startSidecar(
      t,
      {
        service: { name: "web", port },
        upstreams: { orders: { endpoints: [peer.address] } },
        // Workers hear of the app's end by message.
        workers: life % 4 === 3 ? 2 : 1,
      },
      { app: [...app, String(port)] },
    );
    await output(sidecar, /serving\n/);
    const caller = call(sidecar.addresses.inbound!.port, "web");
    while (asked.size === 0) await new Promise((resolve) => setImmediate(resolve));
    sidecar.signal("SIGTERM");
    while ((await sidecar.admin.ask("/ready")).status === 200);
    t.notMatch(sidecar.output(), /asked/, "the app is not asked to end while it is asked for something");
    for (const answer of asked) answer();
    asked.clear();
    t.match(await caller, { status: 200, body: "200 peer /slow" });
    t.equal(await sidecar.exited, 5, "the app's exit code");
    t.equal(sidecar.output(), "first 200 peer /first\nserving\nasked to end\nlast 200 peer /last\n");
  }
});

test("a job: when the app ends, the sidecar ends with its exit code", async (t) => {
  for (const [script, code] of [
    ["exit 0", 0],
    ["exit 3", 3],
    ["kill -9 $$", 137],
    ["kill $$", 143],
  ] as const) {
    const { status, stdout } = runHeddle(t, ["sh", "-c", `echo data; ${script}`]);
    t.equal(status, code, script);
    t.equal(stdout, "data\n", "what it writes is its own");
  }
});

test("an app that is not there or cannot be run is told as a shell would", async (t) => {
  const missing = runHeddle(t, ["./nowhere-at-all"]);
  t.equal(missing.status, 127);
  t.match(
    missing.stderr,
    /"command":"\.\/nowhere-at-all","reason":"ENOENT","msg":"the app cannot be started"/,
  );
  for (const program of [fileURLToPath(import.meta.url), `${fileURLToPath(import.meta.url)}/inside`, ""])
    t.equal(runHeddle(t, [program]).status, 126, program);
});

test("an app is not started beside a sidecar that cannot start, and nothing is read as an app by mistake", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const { status, stdout } = runHeddle(t, ["echo", "started"], { outbound: { listen: `127.0.0.1:${port}` } });
  t.equal(status, 1);
  t.equal(stdout, "");
  for (const words of [
    ["run", "--config", "x.yaml", "--"],
    ["check", "x.yaml", "--", "echo"],
    ["run", "--config", "x.yaml", "echo"],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, [HEDDLE, ...words], { encoding: "utf8" });
    t.equal(status, 2, words.join(" "));
    t.match(stderr, /expected heddle (run|check)/);
  }
});

test("signals that are the app's affair reach it, options behind the dashes are its own", async (t) => {
  const sidecar = await startSidecar(
    t,
    { upstreams: NOBODY },
    {
      app: [
        process.execPath,
        "-e",
        `for (const s of ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"]) process.on(s, () => console.log(s));
         process.on("SIGINT", () => { console.log("SIGINT"); process.exit(0); });
         console.log(process.argv.slice(1).join(" ")); setInterval(() => {}, 1e6);`,
        "--",
        "--config",
        "-h",
      ],
    },
  );
  await output(sidecar, /--config -h\n/);
  for (const signal of ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const) {
    sidecar.signal(signal);
    await output(sidecar, new RegExp(`${signal}\n`));
  }
  sidecar.signal("SIGINT");
  t.equal(await sidecar.exited, 0);
  t.match(sidecar.output(), /SIGINT\n$/, "it is asked to end by the signal that the sidecar got");
});

test("an app that does not end within the grace is killed, and a second signal does not wait for it", async (t) => {
  const deaf = [
    process.execPath,
    "-e",
    'process.on("SIGTERM", () => {}); console.log("deaf"); setInterval(() => {}, 1e6);',
  ];
  const short = await startSidecar(t, { upstreams: NOBODY, shutdown: { grace: "200ms" } }, { app: deaf });
  await output(short, /deaf/);
  t.equal(await short.end(), 137);
  const long = await startSidecar(t, { upstreams: NOBODY, shutdown: { grace: "1h" } }, { app: deaf });
  await output(long, /deaf/);
  long.signal("SIGTERM");
  while ((await long.admin.ask("/ready")).status === 200);
  // What comes at once is taken for the same wish.
  const over = long.exited.then(() => true);
  const pause = () => new Promise<false>((resolve) => setTimeout(resolve, 100, false));
  while (!(await Promise.race([over, pause()]))) long.signal("SIGTERM");
  t.equal(await long.exited, 137);
});

test("a drain that the admin port is asked for ends the app, too", async (t) => {
  const sidecar = await startSidecar(t, { upstreams: NOBODY }, { app: ["sleep", "1000"] });
  await sidecar.until(({ msg }) => msg === "the app has started");
  await sidecar.admin.ask("/drain", "POST");
  t.equal(await sidecar.exited, 143);
});

test("what still comes in does not keep the app from being asked to end in time", async (t) => {
  const port = await freePort();
  const sidecar = await startSidecar(
    t,
    { service: { name: "web", port }, shutdown: { grace: "2s" } },
    {
      app: [
        process.execPath,
        "-e",
        `require("node:http").createServer(() => console.log("asked")).listen(${port}, "127.0.0.1", () => console.log("serving"));
         process.on("SIGTERM", () => process.exit(9));`,
      ],
    },
  );
  await output(sidecar, /serving/);
  const caller = await rawClient(t, sidecar.addresses.inbound!.port);
  caller.send("GET /never HTTP/1.1\r\nHost: web\r\n\r\n");
  await output(sidecar, /asked/);
  t.equal(await sidecar.end(), 9, "it was not killed");
});

type Running = Awaited<ReturnType<typeof startSidecar>>;

/** Resolves when the app has written this. */
async function output(sidecar: Running, wanted: RegExp): Promise<void> {
  const over = sidecar.exited.then((code) => {
    if (!wanted.test(sidecar.output()))
      throw new Error(`it ended with ${code} and wrote ${sidecar.output()}`);
  });
  while (!wanted.test(sidecar.output()))
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 5))]);
}

function runHeddle(t: { testdir(files: Record<string, string>): string }, app: string[], more: object = {}) {
  const any = { listen: "127.0.0.1:0" };
  const folder = t.testdir({
    "heddle.yaml": JSON.stringify({ outbound: any, admin: any, upstreams: NOBODY, ...more }),
  });
  return spawnSync(process.execPath, [HEDDLE, "run", "--config", join(folder, "heddle.yaml"), "--", ...app], {
    encoding: "utf8",
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
