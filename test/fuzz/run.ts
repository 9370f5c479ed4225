/**
 * `npm run fuzz`: random and mutated messages, read by heddle at every split of their bytes and by llhttp.
 *
 * A case depends on the seed and its number only. Exit codes: 0 no disagreement, 1 a disagreement, 2 wrong usage.
 */
import { parseArgs } from "node:util";
import { type Campaign, runCampaign } from "./campaign.ts";
import { connectionOf } from "./connection.ts";
import { explain } from "./explain.ts";
import { report } from "./tally.ts";
import { READERS, tryCase } from "./try-case.ts";

const USAGE = `usage: npm run fuzz -- [options]

  --cases N    how many cases (default 100000)
  --seed S     a whole number that all of them follow from (default 1)
  --from K     the number of the first one (default 0), to share a seed between processes
  --only K     this case alone, with both readings
  --all        go on behind a disagreement
`;

const EVERY_MS = 10_000;
const say = (text: string) => void process.stdout.write(text);

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) say(USAGE);
  else process.exitCode = options.only === undefined ? fuzz(options) : showCase(options.seed, options.only);
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`fuzz: ${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

function readOptions(commandLine: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const options = { cases: text, seed: text, from: text, only: text, all: flag, help: flag } as const;
  const { values } = parseArgs({ args: [...commandLine], options });
  if (values.help === true) return undefined;
  return {
    cases: wholeNumber("cases", values.cases) ?? 100_000,
    seed: wholeNumber("seed", values.seed) ?? 1,
    from: wholeNumber("from", values.from) ?? 0,
    only: wholeNumber("only", values.only),
    all: values.all === true,
  };
}

function wholeNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[0-9]{1,9}$/.test(value)) throw new TypeError(`--${name}: expected a whole number, got "${value}"`);
  return Number(value);
}

function fuzz({ all, ...campaign }: Campaign & { readonly all: boolean }): number {
  const startedAt = performance.now();
  let saidAt = startedAt;
  const tally = runCampaign(campaign, {
    onCase({ cases, messages, splits }) {
      const now = performance.now();
      if (now - saidAt < EVERY_MS) return;
      saidAt = now;
      const perSecond = ((1000 * cases) / (now - startedAt)).toFixed(0);
      say(`${cases} cases, ${splits} splits, ${messages} messages alike, ${perSecond} cases per second\n`);
    },
    onBroken(found) {
      say(explain(campaign.seed, found, READERS));
      return all;
    },
  });
  say(report(tally, campaign.seed, (performance.now() - startedAt) / 1000));
  return tally.broken === 0 ? 0 : 1;
}

function showCase(seed: number, caseNumber: number): number {
  const connection = connectionOf(seed, caseNumber);
  const outcome = tryCase(connection, READERS);
  const { own, theirs, exception, broken } = outcome;
  if (broken !== undefined) {
    say(explain(seed, { ...outcome, broken, caseNumber, connection }, READERS));
    return 1;
  }
  say(`${JSON.stringify(connection, null, 2)}\n`);
  say(`heddle: ${JSON.stringify(own, null, 2)}\nllhttp: ${JSON.stringify(theirs, null, 2)}\n`);
  say(exception === undefined ? "no disagreement\n" : `no disagreement, but the exception ${exception}\n`);
  return 0;
}
