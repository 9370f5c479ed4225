/**
 * `npm run bench:binary`: the single executable beside Node with bin/heddle.js: size, start, memory, time per request.
 *
 * Both in turns, so that what else the machine does meets both; the medians are written into docs/installing.md.
 */
import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sbomOf } from "../../build/sbom/sbom.ts";
import { command } from "../command.ts";
import { contenders } from "../load/contenders.ts";
import { examineMachine } from "../load/machine.ts";
import { Processes } from "../load/processes.ts";
import { median } from "../median.ts";
import { placeWords } from "../occasion.ts";
import { optionsOf, wholeNumber, writesPage } from "../options.ts";
import { writeIntoPage } from "../page.ts";
import { Ground } from "../scale/ground.ts";
import { pace } from "../scale/loads.ts";
import { numbersTable } from "../table.ts";
import { type Program, untilEnded, untilReady } from "./starts.ts";

const ROOT = join(import.meta.dirname, "../..");
const usage = "usage: npm run bench:binary -- [--rounds 3] [--no-write]\n";
const PROGRAMS: readonly Program[] = [
  [process.execPath, join(ROOT, "bin/heddle.js")],
  [join(ROOT, "out/heddle")],
];
const STARTS = 15;
/** Requests per second, and for how many seconds. */
const RATE = 1000;
const SECONDS = 10;
const IDLE_MS = 3000;

interface Stay {
  readonly idle: Memory;
  readonly busy: Memory;
  readonly microsPerRequest: number;
}

/** In MiB; `own` are the pages that no file stands behind, which no other process shares. */
interface Memory {
  readonly resident: number;
  readonly own: number;
}

await command("bench", { usage, options: optionsOf("rounds", "no-write") }, async (values) => {
  const table = await measure(wholeNumber(values, "rounds", 3));
  process.stdout.write(`${table}\n`);
  if (writesPage(values, true)) writeIntoPage("installing.md", "binary", table);
});

async function measure(rounds: number): Promise<string> {
  const machine = examineMachine(contenders.filter(({ id }) => id === "heddle"));
  const ended: number[][] = PROGRAMS.map(() => []);
  const ready: number[][] = PROGRAMS.map(() => []);
  const stays: Stay[][] = PROGRAMS.map(() => []);
  for (let i = 0; i < STARTS; i++)
    for (const [which, program] of PROGRAMS.entries()) {
      ended[which]!.push(untilEnded(program));
      ready[which]!.push(await untilReady(program));
    }
  for (let round = 0; round < rounds; round++)
    for (const [which, program] of PROGRAMS.entries()) {
      await using processes = new Processes();
      const ground = await Ground.prepare(processes, machine);
      stays[which]!.push(await stay(ground, program));
    }
  const row = (what: string, texts: readonly (string | number)[]) => [what, ...texts.map(String)];
  const ms = (times: readonly (readonly number[])[]) => times.map((each) => Math.round(median(each)));
  const memory = (of: (each: Stay) => Memory) =>
    stays.map((each) => {
      const middle = (part: keyof Memory) => Math.round(median(each.map((one) => of(one)[part])));
      return `${middle("resident")}, ${middle("own")}`;
    });
  const rows = [
    row("on disk, MiB", sizes()),
    row(`\`heddle --version\`, ms (median of ${STARTS})`, ms(ended)),
    row(`\`heddle run\` until it is ready, ms (median of ${STARTS})`, ms(ready)),
    row(
      "memory of `heddle run` idle, MiB: all, and without pages of files",
      memory(({ idle }) => idle),
    ),
    row(
      `the same after ${SECONDS} s at ${RATE} requests/s`,
      memory(({ busy }) => busy),
    ),
    row(
      "CPU per request meanwhile, µs",
      stays.map((each) => Math.round(median(each.map(({ microsPerRequest }) => microsPerRequest)))),
    ),
  ];
  const table = numbersTable(["", "`node bin/heddle.js`", "`out/heddle`"], rows);
  return `${table}\n\n${placeWords(machine)}; memory and CPU are medians of ${rounds}, both in turns.`;
}

async function stay(ground: Ground, program: Program): Promise<Stay> {
  const proxy = await ground.heddle("", "", program);
  await sleep(IDLE_MS);
  const idle = memoryOf(proxy.processId);
  const before = proxy.cpuSeconds();
  await pace(proxy, ground.machine.loadCore, RATE, SECONDS);
  const microsPerRequest = ((proxy.cpuSeconds() - before) / (RATE * SECONDS)) * 1e6;
  return { idle, busy: memoryOf(proxy.processId), microsPerRequest };
}

function memoryOf(processId: number): Memory {
  const status = readFileSync(`/proc/${processId}/status`, "utf8");
  const mebibytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)![1]) / 1024;
  return { resident: mebibytes("VmRSS"), own: mebibytes("RssAnon") };
}

/** Node, dist/ and the packages that are used; and the executable, which is all of that. */
function sizes(): string[] {
  const packages = sbomOf(ROOT).components.map(({ name }) => join(ROOT, "node_modules", name));
  const folders = [join(ROOT, "dist"), ...packages.filter((folder) => !folder.endsWith("/node"))];
  const apart = folders.reduce(
    (sum, folder) => sum + bytesIn(folder),
    statSync(realpathSync(process.execPath)).size,
  );
  return [apart, statSync(PROGRAMS[1]![0]).size].map((bytes) => String(Math.round(bytes / 2 ** 20)));
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
