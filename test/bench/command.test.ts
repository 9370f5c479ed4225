import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { test } from "tap";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const COMMAND = join(ROOT, "bench/command.ts");

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
/** `bench/load/run.ts`, of every script that runs a bench with options. */
const RUNS = Object.values<string>(manifest.scripts)
  .map((script) => / (bench\/(?!micro)\w+\/run\.ts)$/.exec(script)?.[1])
  .filter((run) => run !== undefined);

async function resultOf(child: ChildProcess) {
  const [stdout, stderr] = [text(child.stdout!), text(child.stderr!)];
  const [code] = await once(child, "exit");
  return { code, stdout: await stdout, stderr: await stderr };
}

function run(...words: string[]): ChildProcess {
  return spawn(process.execPath, words, { cwd: ROOT });
}

/** A bench that does what `measure` says. */
function bench(measure: string): ChildProcess {
  const program = `
    import { command, UnfitMachine, UsageError } from ${JSON.stringify(COMMAND)};
    await command("bench", { usage: "usage: so\\n", options: {} }, ${measure});
  `;
  return run("--input-type=module-typescript", "--eval", program);
}

test("every bench tells its options, and refuses one that it does not have before it measures anything", async (t) => {
  t.equal(RUNS.length, 9);
  for (const path of RUNS) {
    const told = await resultOf(run(path, "--help"));
    t.match(told, { code: 0, stdout: /^usage: npm run /, stderr: /^$/ }, `${path} --help`);
    const refused = await resultOf(run(path, "--wirte"));
    t.match(
      refused,
      { code: 2, stdout: /^$/, stderr: /: Unknown option '--wirte'.*\nusage: npm run / },
      path,
    );
  }
});

test("a fault of the bench is no wrong usage, and is told with its stack", async (t) => {
  const { code, stderr } = await resultOf(bench(`async () => { throw new TypeError("no figures"); }`));
  t.equal(code, 1);
  t.match(stderr, /^bench: TypeError: no figures\n {4}at /);
  t.notMatch(stderr, "usage");
});

test("what the machine lacks is told without a stack, and what was asked wrongly with the usage", async (t) => {
  t.same(await resultOf(bench(`async () => { throw new UnfitMachine("no nginx"); }`)), {
    code: 1,
    stdout: "",
    stderr: "bench: no nginx\n",
  });
  t.same(await resultOf(bench(`async () => { throw new UsageError("--only: so"); }`)), {
    code: 2,
    stdout: "",
    stderr: "bench: --only: so\nusage: so\n",
  });
});

test("what was started is ended in reverse however a bench ends, and a rule that does not hold is its exit code", async (t) => {
  const parts = `for (const part of [1, 2]) ends.teardown(() => console.log("ended", part));`;
  for (const [last, code] of [
    ["return 1;", 1],
    ["setInterval(() => {}, 1000);", 0],
    ["throw new Error();", 1],
  ] as const)
    t.match(await resultOf(bench(`async (_, { ends }) => { ${parts} ${last} }`)), {
      code,
      stdout: "ended 2\nended 1\n",
    });
});

test("Ctrl-C ends what was started, though the bench never looks up, and what ends in order is let", async (t) => {
  const starts = `ends.teardown(() => console.log("ended")); console.log("started");`;
  for (const wait of [
    "await new Promise(() => {})",
    `await once(signal, "abort"); signal.throwIfAborted()`,
  ]) {
    const child = bench(`async (_, { ends, signal }) => {
      const { once } = await import("node:events");
      setInterval(() => {}, 1000);
      ${starts}
      ${wait};
    }`);
    const result = resultOf(child);
    await once(child.stdout!, "data");
    child.kill("SIGINT");
    t.same(await result, {
      code: 130,
      stdout: "started\nended\n",
      stderr: "interrupted; everything that was started has been ended\n",
    });
  }
});
