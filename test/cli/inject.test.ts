import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "tap";
import { COMMANDS } from "../../cli/commands.ts";
import { openBlackHole } from "../support/black-hole.ts";
import { startSidecar } from "../support/sidecar.ts";

const HEDDLE = join(import.meta.dirname, "../../bin/heddle.js");

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function heddle(cwd: string, arguments_: readonly string[], input = ""): Promise<Outcome> {
  const child = spawn(process.execPath, [HEDDLE, ...arguments_], { cwd, stdio: "pipe" });
  child.stdin.end(input);
  const [[code], stdout, stderr] = await Promise.all([
    once(child, "close"),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code: code as number, stdout, stderr };
}

const POD = `apiVersion: v1
kind: Pod
metadata: {name: web}   # the app
spec:
  containers:
  - {name: app, image: a, ports: [{containerPort: 8080}]}
`;
const SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
const FAULTY = POD.replace("{name: web}", "{name: bad, annotations: {heddle.dev/prot: '1'}}");

test("a file, standard input and back again: manifests on standard output, a word on each object on standard error", async (t) => {
  const folder = t.testdir({ "app.yaml": `${POD}---\n${SERVICE}` });
  const before = readFileSync(join(folder, "app.yaml"), "utf8");
  const once_ = await heddle(folder, ["inject", "-f", "app.yaml"]);
  t.equal(once_.code, 0);
  t.equal(once_.stderr, "app.yaml  Pod web  injected\napp.yaml  Service web  untouched\n");
  t.match(once_.stdout, "restartPolicy: Always");
  const twice = await heddle(folder, ["inject", "-"], once_.stdout);
  t.same(twice, {
    code: 0,
    stdout: once_.stdout,
    stderr: "standard input  Pod web  already injected\nstandard input  Service web  untouched\n",
  });
  const back = await heddle(folder, ["inject", "--uninject", "-f", "-"], once_.stdout);
  t.same([back.code, back.stdout], [0, before]);
  t.match(back.stderr, "standard input  Pod web  uninjected\n");
});

test("a folder becomes one stream of documents, or a folder with the same names", async (t) => {
  const folder = t.testdir({
    in: {
      "b.yml": POD.trimEnd(),
      deep: { "c.json": JSON.stringify({ kind: "Service", apiVersion: "v1", metadata: { name: "c" } }) },
      "a.yaml": `# first\n---\n${SERVICE}`,
      "d.yaml": `--- # fourth\n${SERVICE}`,
      "notes.txt": "not a manifest",
    },
  });
  const stream = await heddle(folder, ["inject", "in"]);
  t.equal(stream.code, 0);
  t.match(stream.stderr, /^in\/a\.yaml .*\nin\/b\.yml .*\nin\/d\.yaml .*\nin\/deep\/c\.json .*\n$/);
  t.equal(stream.stdout.split(/^---/m).length, 5, "one document from each file");
  t.ok(stream.stdout.startsWith(`# first\n---\n${SERVICE}---\napiVersion`));
  const written = await heddle(folder, ["inject", "-f", "in", "--output", "out/deeper"]);
  t.same([written.code, written.stdout], [0, ""]);
  t.same(readdirSync(join(folder, "out/deeper"), { recursive: true }).toSorted(), [
    "a.yaml",
    "b.yml",
    "d.yaml",
    "deep",
    "deep/c.json",
  ]);
  t.equal(readFileSync(join(folder, "out/deeper/a.yaml"), "utf8"), `# first\n---\n${SERVICE}`);
  t.match(readFileSync(join(folder, "out/deeper/b.yml"), "utf8"), "name: heddle");
});

test("a fault ends with 1, its place is told, and nothing of anything is written", async (t) => {
  const folder = t.testdir({ in: { "fine.yaml": POD, "wrong.yaml": `${SERVICE}---\n${FAULTY}` } });
  const outcome = await heddle(folder, ["inject", "in", "-o", "out"]);
  t.same([outcome.code, outcome.stdout], [1, ""]);
  t.equal(
    outcome.stderr,
    'in/wrong.yaml:7:54  document 2, Pod bad  metadata.annotations["heddle.dev/prot"]  unknown annotation; did you mean heddle.dev/port?\n' +
      "heddle: nothing is written\n",
  );
  t.notOk(existsSync(join(folder, "out")));
});

test("what cannot be read ends with 1", async (t) => {
  const folder = t.testdir({ empty: {} });
  const [absent, empty] = await Promise.all([
    heddle(folder, ["inject", "-f", "absent.yaml"]),
    heddle(folder, ["inject", "-f", "empty"]),
  ]);
  t.match(absent, { code: 1, stdout: "", stderr: "ENOENT" });
  t.same(empty, {
    code: 1,
    stdout: "",
    stderr: "heddle: expected manifests (*.yaml, *.yml, *.json) in empty, got none\n",
  });
});

test("a link to a manifest is one; links in a circle are told of, and folders behind links are not entered", async (t) => {
  const folder = t.testdir({ in: {}, "web.yaml": POD });
  symlinkSync("../web.yaml", join(folder, "in/link.yaml"));
  symlinkSync(".", join(folder, "in/again"));
  const found = await heddle(folder, ["inject", "in"]);
  t.match(found, { code: 0, stderr: "in/link.yaml  Pod web  injected\n" });
  symlinkSync("round.yaml", join(folder, "in/round.yaml"));
  t.match(await heddle(folder, ["inject", "in"]), { code: 1, stdout: "", stderr: /ELOOP/ });
});

test("two files that would become one are a fault, and so is a reader that goes away", async (t) => {
  const folder = t.testdir({ a: { "x.yaml": POD }, b: { "x.yaml": SERVICE } });
  const both = await heddle(folder, ["inject", "-f", "a", "b/x.yaml", "--output", "out"]);
  t.match(both, { code: 1, stdout: "", stderr: /^heddle: expected a name of its own .* got x\.yaml twice/ });
  t.notOk(existsSync(join(folder, "out")));
  const unwritable = await heddle(folder, ["inject", "-f", "a", "--output", "b/x.yaml"]);
  t.match(unwritable, { code: 1, stderr: /\nheddle: not everything is written: EEXIST/ });
  const child = spawn(process.execPath, [HEDDLE, "inject", "-"], { stdio: "pipe" });
  child.stdout.destroy();
  child.stdin.end(POD);
  const [[code], stderr] = await Promise.all([once(child, "close"), text(child.stderr)]);
  t.same(
    [code, stderr],
    [1, "standard input  Pod web  injected\nheddle: not everything is written: write EPIPE\n"],
  );
});

test("a wrong call ends with 2 and says what was expected", async (t) => {
  const folder = t.testdir({});
  const [nothing, unknown, wrong] = await Promise.all([
    heddle(folder, ["inject"]),
    heddle(folder, ["inject", "--colour", "red"]),
    heddle(folder, ["inject", "-", "--discovery", "dns"]),
  ]);
  t.match(nothing, { code: 2, stderr: "expected -f with a file, a folder or - for standard input" });
  t.equal(unknown.code, 2);
  t.match(wrong, { code: 2, stderr: '--discovery: expected consul or kubernetes, got "dns"' });
});

test("options stand for annotations where a pod has none", async (t) => {
  const pods = `${POD}---\n${POD.replace("{name: web}", "{name: own, annotations: {heddle.dev/sidecar: native, heddle.dev/image: mine}}")}`;
  const options = ["--classic", "--image", "registry.example/heddle:2", "--log-level", "debug"];
  const { code, stdout } = await heddle(t.testdir({}), ["inject", "-", ...options], pods);
  t.equal(code, 0);
  const [first, second] = stdout.split("\n---\n");
  t.match(first, /containers:\n {2}- name: heddle\n {4}image: registry\.example\/heddle:2\n/);
  t.match(second, /initContainers:\n {2}- name: heddle\n {4}image: mine\n/);
  t.match(second, "logLevel: debug");
});

test("the hooks of an injected pod name commands and options that exist", async (t) => {
  const { stdout } = await heddle(t.testdir({}), ["inject", "-", "--classic"], POD);
  const hooks = [...stdout.matchAll(/- \/usr\/bin\/heddle\n((?: +- .+\n)+)/g)].map(([, words]) =>
    words!
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/^ +- /, "").replaceAll('"', "")),
  );
  t.same(hooks.map(([command]) => command).toSorted(), ["leave", "ready"]);
  for (const [command, ...words] of hooks)
    for (const word of words)
      if (word.startsWith("--")) t.ok(COMMANDS[command!]!.options[word.slice(2)], `${command} ${word}`);
});

test("heddle leave tells peers to go elsewhere, and waits for the app at most as long as it is told; the sidecar goes on", async (t) => {
  const app = createServer().listen(0, "127.0.0.1");
  t.teardown(() => app.close());
  await once(app, "listening");
  const { port } = app.address() as AddressInfo;
  const sidecar = await startSidecar(t, { service: { name: "web", port }, upstreams: {} });
  const admin = `127.0.0.1:${sidecar.addresses.admin.port}`;
  t.equal((await heddle(".", ["ready", "--admin", admin, "--within", "10s"])).code, 0);
  const leaving = heddle(".", [
    "leave",
    "--admin",
    admin,
    "--wait",
    "60s",
    "--until-closed",
    `127.0.0.1:${port}`,
  ]);
  while ((await sidecar.admin.ask("/ready")).status === 200);
  t.match(await sidecar.admin.ask("/ready"), { status: 503, text: "leaving\n" });
  t.equal((await sidecar.admin.ask("/live")).status, 200);
  app.close();
  t.match(await leaving, { code: 0, stdout: "left\n" }, "it has not waited for all of the minute");
  t.equal((await heddle(".", ["ready", "--admin", admin, "--within", "300ms"])).code, 1);
  t.equal((await sidecar.admin.ask("/live")).status, 200, "it goes on until it is told to drain");
  t.equal(await sidecar.end(), 0);
  const hole = await openBlackHole(port);
  const waited = await heddle(".", [
    "leave",
    "--admin",
    admin,
    "--wait",
    "1s",
    "--until-closed",
    `127.0.0.1:${port}`,
  ]);
  await hole.close();
  t.equal(waited.code, 1, "nor does a port without an answer hold it, which would be for two minutes");
  t.equal((await heddle(".", ["leave", "--admin", admin])).code, 1, "nobody is there any more");
});
