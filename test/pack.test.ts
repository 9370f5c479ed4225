/**
 * The package that `npm pack` makes: what is in it, and that it is enough to run.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "tap";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

test("the package holds the program, its pages and examples, and nothing of the work on it; and it runs", async (t) => {
  // From a copy, as it writes dist/, which other tests run from.
  const copy = join(t.testdir(), "copy");
  const { stdout } = await run("git", ["ls-files", "-co", "--exclude-standard"], {
    cwd: ROOT,
    maxBuffer: 1 << 24,
  });
  const files = stdout.split("\n").filter((file) => file !== "" && !/^(?:test|bench)\//.test(file));
  for (const file of files) cpSync(join(ROOT, file), join(copy, file));
  const PATH = `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"]}`;
  const environment = { ...process.env, PATH };
  const packed = await run("npm", ["pack", "--json", "--pack-destination", ".."], {
    cwd: copy,
    env: environment,
  });
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const tarball = `heddle-${version}.tgz`;
  t.match(packed.stdout, tarball);

  // As an install lays it out, its dependencies beside it.
  const modules = join(copy, "../user/node_modules");
  mkdirSync(modules, { recursive: true });
  await run("tar", ["-xzf", join(copy, "..", tarball), "-C", modules]);
  await run("mv", ["package", "heddle"], { cwd: modules });
  for (const name of readdirSync(join(ROOT, "node_modules")))
    if (!name.startsWith(".")) symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  const installed = join(modules, "heddle");
  t.same(readdirSync(installed).sort(), [
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "bin",
    "build",
    "dist",
    "docs",
    "examples",
    "package.json",
    "packaging",
  ]);
  t.same(readdirSync(join(installed, "build")), ["strip-types.js"]);
  t.same(
    readdirSync(installed, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts")),
    [],
    "no sources, and so no type stripper",
  );

  const user = join(modules, "..");
  const heddle = (...words: string[]) =>
    run(process.execPath, [join(installed, "bin/heddle.js"), ...words], { cwd: user });
  t.same(await heddle("--version"), { stdout: `heddle ${version}\n`, stderr: "" });
  t.match((await heddle("check", join(installed, "examples/static.yaml"))).stdout, "static.yaml: fine");
  t.match((await heddle("demo", "--seconds", "1")).stdout, /curl http/);

  // npm runs "prepare" in some installs.
  await run(process.execPath, ["build/strip-types.js"], { cwd: installed });
  t.match((await heddle("--version")).stdout, version, "it leaves dist/ as it is where there are no sources");
});
