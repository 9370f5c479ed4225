/**
 * `npm run bench:balancing`: what each balancing algorithm makes of a slow replica and of a busy one, on real sockets.
 *
 * Beside `npm run simulate`, which proves the same code in virtual time: here are connections, timers, and the questions that prequal
 * asks. A missed target is said and is no failure, as in the other benches.
 */
import { command, say } from "../command.ts";
import { Ends } from "../ends.ts";
import { occasion } from "../occasion.ts";
import { aboveZero, optionsOf, wholeNumber, writesPage } from "../options.ts";
import { writeIntoPage } from "../page.ts";
import { report } from "./report.ts";
import { type Course, oneIsBusy, oneIsSlow, type Results } from "./scenes.ts";

/** A run that is shorter leaves the page as it is, unless it is told to write. */
const FULL = { rounds: 5, seconds: 10 };
const usage = `usage: npm run bench:balancing -- [--rounds ${FULL.rounds}] [--seconds ${FULL.seconds}] [--write | --no-write]\n`;
const options = optionsOf("rounds", "seconds", "write", "no-write");

await command("bench", { usage, options }, async (values) => {
  const rounds = wholeNumber(values, "rounds", FULL.rounds);
  const seconds = aboveZero(values, "seconds", FULL.seconds);
  const writes = writesPage(values, rounds >= FULL.rounds && seconds >= FULL.seconds);
  const course = { rounds, seconds, say };
  const [slow, busy] = [await apart(oneIsSlow, course), await apart(oneIsBusy, course)];
  const text = report(slow, busy, { ...occasion(), rounds, seconds });
  process.stdout.write(`${text}\n`);
  if (writes) writeIntoPage("benchmarks.md", "balancing", text);
});

/** What one scene needed is not to be in the way of the next. */
async function apart(scene: typeof oneIsSlow, course: Course): Promise<Results> {
  await using ends = new Ends();
  return await scene(ends, course);
}
