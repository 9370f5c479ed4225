/**
 * What systemd hears of a sidecar, and the unit that it runs it by.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Test, test } from "tap";
import { parseConfig } from "../../config/index.ts";
import { startApp } from "../support/apps.ts";
import { startSidecar } from "../support/sidecar.ts";

const UNIT = readFileSync(fileURLToPath(new URL("../../packaging/heddle.service", import.meta.url)), "utf8");
const NOBODY = { upstreams: { orders: { endpoints: ["127.0.0.1:1"] } } };

/** The other end of the protocol, by the kernel's own sockets; Node has none of this kind. */
const RECEIVER = `
import socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print("|".join(receiver.recv(4096).decode().split("\\n")), flush=True)
`;

const missing = ["python3", "systemd-notify"].find((name) => spawnSync(name, ["--version"]).status !== 0);
const skip = missing === undefined ? false : `${missing} is not installed`;

/** What has been told; each word is waited for in turn. */
async function receiver(t: Test): Promise<{ readonly path: string; next(): Promise<string | undefined> }> {
  // Short, as the names of sockets must be.
  const folder = mkdtempSync(join(tmpdir(), "heddle-test-"));
  const path = join(folder, "notify");
  const child = spawn("python3", ["-c", RECEIVER, path], { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null) await once(child, "close");
    rmSync(folder, { recursive: true, force: true });
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string | undefined> => {
    const { value } = await lines.next();
    // By this systemd-notify waits until systemd has read what came before.
    return value === "BARRIER=1" ? next() : value;
  };
  t.equal(await next(), "bound");
  return { path, next };
}

test("systemd hears when the ports are open, and that a drain has begun", { skip }, async (t) => {
  const { path, next } = await receiver(t);
  const sidecar = await startSidecar(t, NOBODY, { environment: { NOTIFY_SOCKET: path } });
  const { host, port } = sidecar.addresses.admin;
  t.equal(await next(), `READY=1|STATUS=ready, admin port at ${host}:${port}`);
  t.equal((await sidecar.admin.ask("/drain", "POST")).status, 202, "by a drain that is no signal");
  t.equal(await next(), "STOPPING=1|STATUS=draining");
  t.equal(await sidecar.exited, 0);
});

test("an app that is started with the sidecar cannot speak for it", { skip }, async (t) => {
  const { path, next } = await receiver(t);
  const sidecar = await startSidecar(t, NOBODY, {
    environment: { NOTIFY_SOCKET: path },
    app: ["sh", "-c", 'echo "socket: $' + '{NOTIFY_SOCKET-none}"'],
  });
  t.match(await next(), /^READY=1/);
  t.equal(await sidecar.exited, 0);
  t.equal(sidecar.output(), "socket: none\n");
});

test("where systemd cannot be told, the sidecar says so and goes on", { skip }, async (t) => {
  const app = await startApp(t);
  const sidecar = await startSidecar(
    t,
    { upstreams: { orders: { endpoints: [app.address] } } },
    { environment: { NOTIFY_SOCKET: join(t.testdir(), "nobody") } },
  );
  const said = await sidecar.until(({ msg }) => msg === "systemd cannot be told");
  t.match(said, { level: "warn", told: "READY=1", reason: "exit code 1" });
  t.equal((await sidecar.admin.ask("/ready")).status, 200);
});

test("the unit gives a drain its time, and lets the child that speaks be heard", async (t) => {
  const setting = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(UNIT)?.[1];
  const { shutdown } = parseConfig(JSON.stringify(NOBODY), "heddle.yaml", {});
  t.ok(Number(setting("TimeoutStopSec")) * 1000 > shutdown.graceMs + 5_000);
  t.equal(setting("KillMode"), "mixed", "the app is not told before the sidecar has drained");
  t.equal(setting("Type"), "notify");
  t.equal(setting("NotifyAccess"), "all");
});

const withoutAnalyze =
  spawnSync("systemd-analyze", ["--version"]).status === 0 ? false : "systemd-analyze is not installed";

test("systemd finds no fault in the unit, and little that it could still do", {
  skip: withoutAnalyze,
}, async (t) => {
  const folder = t.testdir({
    // Programs must be there.
    "heddle.service": UNIT.replaceAll("/usr/bin/heddle", "/bin/true"),
  });
  const unit = join(folder, "heddle.service");
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
  t.equal(stderr, "");
  t.equal(status, 0);
  // Of 10.0; what most services get is 9.
  const security = spawnSync("systemd-analyze", ["security", "--offline=yes", "--threshold=20", unit], {
    encoding: "utf8",
  });
  t.equal(security.status, 0, security.stdout.trimEnd().split("\n").at(-1)!);
});
