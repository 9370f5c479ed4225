// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are what is tested here
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "tap";

const HEDDLE = join(import.meta.dirname, "../../bin/heddle.js");

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function heddle(
  cwd: string,
  arguments_: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [HEDDLE, ...arguments_], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [[code], stdout, stderr] = await Promise.all([
    once(child, "close"),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code: code as number, stdout, stderr };
}

test("heddle check says fine and ends with 0, or prints every fault and ends with 1", async (t) => {
  const folder = t.testdir({
    "heddle.yaml": "service: { name: web, port: ${APP_PORT} }\n",
    "faulty.yaml": "servce: { name: web }\nshutdown: { grace: 30 }\nupstreams: {}\n",
    inside: {},
  });
  const [fine, unset, faulty, absent, directory] = await Promise.all([
    heddle(folder, ["check", "heddle.yaml"], { APP_PORT: "3000" }),
    heddle(folder, ["check", "heddle.yaml"], { APP_PORT: undefined }),
    heddle(folder, ["check", "faulty.yaml"]),
    heddle(folder, ["check", "inside/absent.yaml"]),
    heddle(folder, ["check", "inside"]),
  ]);
  t.same(fine, { code: 0, stdout: "heddle.yaml: fine\n", stderr: "" });
  t.same(unset, {
    code: 1,
    stdout: "",
    stderr:
      "heddle.yaml:1:29  expected the environment variable APP_PORT to be set, or a default as in ${APP_PORT:-value}\n",
  });
  t.same(faulty, {
    code: 1,
    stdout: "",
    stderr:
      "faulty.yaml:1:1  servce  unknown setting; did you mean service?\n" +
      "faulty.yaml:2:20  shutdown.grace  expected a duration from 0s to 24h, such as 250ms, 2s or 1m, got 30\n",
  });
  t.match(absent, {
    code: 1,
    stdout: "",
    stderr: /^inside\/absent\.yaml:1:1 {2}expected a readable file, got ENOENT\b.*\n$/,
  });
  t.match(directory, {
    code: 1,
    stdout: "",
    stderr: /^inside:1:1 {2}expected a readable file, got EISDIR\b.*\n$/,
  });
});

test("heddle check without a file, with two, or with an option it does not have ends with 2 and shows its use", async (t) => {
  const folder = t.testdir({ "heddle.yaml": "service: { name: web, port: 3000 }\n" });
  const outcomes = await Promise.all([
    heddle(folder, ["check"]),
    heddle(folder, ["check", "heddle.yaml", "heddle.yaml"]),
    heddle(folder, ["check", "--strict", "heddle.yaml"]),
  ]);
  for (const { code, stdout, stderr } of outcomes) {
    t.same({ code, stdout }, { code: 2, stdout: "" });
    t.match(
      stderr,
      /^heddle: .*(?:\n.*)*?expected heddle check heddle\.yaml\n|^heddle: expected heddle check heddle\.yaml\n/,
    );
  }
  t.match(outcomes[2]!.stderr, "'--strict'");
});
