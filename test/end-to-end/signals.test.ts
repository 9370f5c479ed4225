/**
 * Signals at awkward moments: while the sidecar starts, two at once, and those of a terminal that closes.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Test, test } from "tap";
import { freePorts } from "../support/free-ports.ts";
import { rawClient } from "../support/raw.ts";
import { Admin } from "../support/sidecar.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
const UPSTREAMS = { orders: { endpoints: ["127.0.0.1:1"] } };

/** What has been written to a stream so far, to be waited for. */
class Heard {
  text = "";
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, streams: readonly ("stdout" | "stderr")[]) {
    this.#child = child;
    for (const name of streams)
      child[name]!.setEncoding("utf8").on("data", (part: string) => {
        this.text += part;
        child.emit("heard");
      });
  }

  async until(wanted: RegExp): Promise<void> {
    while (!wanted.test(this.text)) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`it ended and had said ${this.text}`);
      await Promise.race([once(this.#child, "heard"), once(this.#child, "close")]);
    }
  }
}

/** Configuration and command line of `heddle run` on free ports; the port for administrators is known beforehand. */
async function prepare(t: Test, configuration: object, words: readonly string[]) {
  const any = { listen: "127.0.0.1:0" };
  const [admin] = await freePorts(1);
  const folder = t.testdir({
    "heddle.yaml": JSON.stringify({
      outbound: any,
      inbound: any,
      admin: { listen: `127.0.0.1:${admin}` },
      shutdown: { grace: "1h" },
      upstreams: UPSTREAMS,
      ...configuration,
    }),
  });
  const file = join(folder, "heddle.yaml");
  const command = [process.execPath, HEDDLE, "run", "--config", file, ...words];
  return { command, admin: new Admin({ host: "127.0.0.1", port: admin! }) };
}

/** @param before what stands before the command line */
async function start(
  t: Test,
  configuration: object,
  words: readonly string[],
  before: readonly string[] = [],
) {
  const { command: heddle, admin } = await prepare(t, configuration, words);
  const command = [...before, ...heddle];
  const child = spawn(command[0]!, command.slice(1), { stdio: "pipe" });
  const closed = once(child, "close");
  t.teardown(async () => {
    child.kill("SIGKILL");
    child.stdin.destroy();
    await closed;
  });
  return {
    child,
    admin,
    stdout: new Heard(child, ["stdout"]),
    stderr: new Heard(child, ["stderr"]),
    exited: closed.then(([code, signal]) => (signal ?? code) as string | number),
  };
}

/** An agent that takes every question and answers none, so that who asks it of itself never gets ready. */
async function silentRegistry(t: Test) {
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy());
    socket.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return {
    asked: once(server, "connection"),
    discovery: { consul: { address: `http://127.0.0.1:${port}` } },
  };
}

const APP = ["--", "sh", "-c", "echo started; exec sleep 1000"];

for (const [signal, workers] of [
  ["SIGTERM", 1],
  ["SIGTERM", 2],
  ["SIGINT", 1],
  ["SIGHUP", 1],
  ["SIGQUIT", 1],
  ["SIGUSR1", 1],
  ["SIGUSR2", 2],
] as const)
  test(`${signal} in the middle of a start ends it, and no app is started, with workers: ${workers}`, async (t) => {
    const { asked, discovery } = await silentRegistry(t);
    const of = await start(t, { discovery, workers }, ["--sidecar-for", "web", ...APP]);
    await asked;
    t.equal((await of.admin.ask("/ready")).text, "starting\n");
    of.child.kill("SIGWINCH");
    t.equal((await of.admin.ask("/ready")).text, "starting\n");
    t.equal((await of.admin.ask("/ready")).text, "starting\n", "of a terminal's size it does not end");
    of.child.kill(signal);
    t.equal(await of.exited, 128 + constants.signals[signal], "as the app alone would have ended");
    t.equal(of.stdout.text, "");
  });

test("where it is asked to drain before the app has been started, a start that goes on starts none", async (t) => {
  const { asked, discovery } = await silentRegistry(t);
  const [inbound] = await freePorts(1);
  const of = await start(
    t,
    {
      discovery,
      service: { name: "web", port: 1 },
      inbound: { listen: `127.0.0.1:${inbound}` },
      upstreams: { orders: { follow: "always" } },
    },
    APP,
  );
  await asked;
  // A caller that says nothing would hold the drain for longer than the start waits for the registry.
  await rawClient(t, inbound!);
  t.equal((await of.admin.ask("/drain", "POST")).status, 202);
  t.equal(await of.exited, 143);
  t.equal(of.stdout.text, "");
});

test("two signals at the same moment are one wish, and the app ends in good order", async (t) => {
  const script = `for (const s of ["SIGTERM", "SIGINT"]) process.on(s, () => {
    console.log("asked");
    setTimeout(() => process.exit(9), 50);
  });
  console.log("up"); setInterval(() => {}, 1e6);`;
  const of = await start(t, { service: { name: "web", port: 1 } }, ["--", process.execPath, "-e", script]);
  await of.stdout.until(/up\n/);
  // Both wait for it.
  of.child.kill("SIGSTOP");
  of.child.kill("SIGTERM");
  of.child.kill("SIGINT");
  of.child.kill("SIGCONT");
  t.equal(await of.exited, 9);
  t.equal(of.stdout.text, "up\nasked\n", "once");
});

test("a signal just as the app has ended changes nothing of its exit code", async (t) => {
  const [inbound] = await freePorts(1);
  const of = await start(
    t,
    { service: { name: "web", port: 1 }, inbound: { listen: `127.0.0.1:${inbound}` } },
    ["--", "sh", "-c", "echo up; read line; exit 3"],
  );
  await of.stdout.until(/up\n/);
  // A caller that says nothing holds the drain for some seconds.
  await rawClient(t, inbound!);
  of.child.stdin.end();
  while ((await of.admin.ask("/ready")).status === 200);
  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) of.child.kill(signal);
  t.equal(await of.exited, 3);
});

test("SIGINT leaves the app's standard input as it is", async (t) => {
  const of = await start(t, {}, ["--", "sh", "-c", "trap '' INT; echo up; exec cat"]);
  await of.stdout.until(/up\n/);
  of.child.kill("SIGINT");
  while ((await of.admin.ask("/ready")).status === 200);
  // Made non-blocking by one, it would be so for both; cat takes that for an error at its second read.
  for (const line of ["one\n", "two\n"]) {
    of.child.stdin.write(line);
    await of.stdout.until(new RegExp(line));
  }
  of.child.stdin.end();
  t.equal(await of.exited, 0);
});

const asRoot =
  process.getuid?.() === 0 && spawnSync("setpriv", ["--version"]).status === 0
    ? false
    : "it needs root and setpriv";

test("an app that has become a user of whom heddle may end nothing does not keep it from ending", {
  skip: asRoot,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "heddle-test-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  const become = join(folder, "become");
  copyFileSync(spawnSync("sh", ["-c", "command -v setpriv"], { encoding: "utf8" }).stdout.trim(), become);
  chmodSync(become, 0o4755);
  const root = ["--reuid", "0", "--regid", "0", "--clear-groups"];
  // What the runner of tests puts into each Node writes files of the runner's user when a signal ends it.
  const withoutRunner = ["env", "-u", "NODE_OPTIONS"];
  const nobody = [...withoutRunner, "setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups"];
  const app = ["--", become, ...root, "sh", "-c", "echo up $$; read line"];
  const of = await start(t, { shutdown: { grace: "200ms" } }, app, nobody);
  // It ends with its standard input, at the latest when the test does.
  await of.stdout.until(/up \d+\n/);
  of.child.kill("SIGTERM");
  await of.stderr.until(/the app may not be killed; it is left behind/);
  t.equal(await once(of.child, "exit").then(([code]) => code), 143);
});

/** A terminal of which the command is the first process. It is told on standard input what to do: `^C`, or else to close. */
const TERMINAL = `
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print("pid", pid, flush=True)
while True:
    ready, _, _ = select.select([0, terminal], [], [])
    if terminal in ready:
        try: said = os.read(terminal, 65536)
        except OSError: break
        os.write(1, said)
    if 0 in ready:
        if os.read(0, 100) != b"^C": break
        os.write(terminal, b"\\x03")
os.close(terminal)
print("ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
`;

const withoutPython = spawnSync("python3", ["--version"]).status === 0 ? false : "python3 is not installed";

async function inTerminal(t: Test, configuration: object, words: readonly string[]) {
  const { command, admin } = await prepare(t, configuration, words);
  const child = spawn("python3", ["-c", TERMINAL, ...command], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const heard = new Heard(child, ["stdout"]);
  await heard.until(/^pid \d+\n/);
  const pid = Number(/\d+/.exec(heard.text)![0]);
  t.teardown(async () => {
    // It may have ended.
    if (child.exitCode === null) spawnSync("kill", ["-9", String(pid)]);
    child.stdin.destroy();
    await closed;
  });
  return { pid, heard, admin, say: (word: string) => child.stdin.write(word) };
}

test("a terminal that closes leaves no sidecar behind", { skip: withoutPython }, async (t) => {
  await t.test("that starts", async (t) => {
    const { asked, discovery } = await silentRegistry(t);
    const of = await inTerminal(t, { discovery }, ["--sidecar-for", "web", ...APP]);
    await asked;
    of.say("close");
    await of.heard.until(/ended with 129/);
    t.notMatch(of.heard.text, /started/);
  });
  await t.test("with an app that ends by it", async (t) => {
    const of = await inTerminal(t, {}, APP);
    await of.heard.until(/started/);
    of.say("close");
    await of.heard.until(/ended with 129/);
  });
  await t.test("without an app, where the signal alone is no reason to end", async (t) => {
    const of = await inTerminal(t, {}, []);
    await of.heard.until(/"msg":"ready"/);
    process.kill(of.pid, "SIGHUP");
    await of.heard.until(/reloading is not built yet/);
    t.equal((await of.admin.ask("/ready")).status, 200);
    of.say("close");
    await of.heard.until(/ended with 0/);
  });
});

test("Ctrl-C reaches the app once; a SIGINT for the sidecar alone reaches it before the grace is over", {
  skip: withoutPython,
}, async (t) => {
  const script = `let asked = 0;
  for (const s of ["SIGTERM", "SIGINT"]) process.on(s, () => {
    console.log("app:" + s + ++asked);
    setTimeout(() => process.exit(10 + asked), 50);
  });
  console.log("app:up"); setInterval(() => {}, 1e6);`;
  const app = ["--", process.execPath, "-e", script];
  const pressed = await inTerminal(t, {}, app);
  await pressed.heard.until(/app:up/);
  pressed.say("^C");
  await pressed.heard.until(/ended with 11/);
  t.match(pressed.heard.text, /app:SIGINT1/);
  const sent = await inTerminal(t, { shutdown: { grace: "8s" } }, app);
  await sent.heard.until(/app:up/);
  process.kill(sent.pid, "SIGINT");
  await sent.heard.until(/ended with 11/);
  t.match(sent.heard.text, /app:SIGTERM1/);
});
