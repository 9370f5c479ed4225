/**
 * `npm run bench:scale`: latency, large bodies, memory, and how flat heddle stays as its surroundings grow.
 *
 * Beside bench/load, which compares CPU time per request, and apart from it, as each scene wants processes of its own.
 */
import { command, say } from "../command.ts";
import { type Figure, figureLine, figureTable } from "../figure.ts";
import { contenders } from "../load/contenders.ts";
import { examineMachine } from "../load/machine.ts";
import { Processes } from "../load/processes.ts";
import { chosen, optionsOf, wholeNumber, writesPage } from "../options.ts";
import { writeIntoPage } from "../page.ts";
import { Ground } from "./ground.ts";
import { SCENES } from "./scenes.ts";

const NAMES = Object.keys(SCENES);
const usage = `usage: npm run bench:scale -- [--only ${NAMES.join(",")}] [--rounds 3] [--json] [--no-write]\n`;
const options = optionsOf("only", "rounds", "json", "no-write");

await command("bench", { usage, options }, async (values) => {
  const only = chosen(values, NAMES);
  const rounds = wholeNumber(values, "rounds", 3);
  const figures = await measure(only, rounds);
  process.stdout.write(
    values.json === true ? `${JSON.stringify(figures, null, 2)}\n` : `${figureTable(figures)}\n`,
  );
  // What the page says of scenes that were not run stays, so any run may write.
  if (writesPage(values, true))
    writeIntoPage("benchmarks.md", "scale", (before) => figureTable(figures, before));
});

async function measure(only: readonly string[], rounds: number): Promise<Figure[]> {
  const machine = examineMachine(contenders.filter(({ id }) => id === "nginx" || id === "heddle"));
  const figures: Figure[] = [];
  for (const name of only) {
    // Each scene with processes of its own, so that none learns from the one before.
    await using processes = new Processes();
    const figure = await SCENES[name]!(await Ground.prepare(processes, machine), rounds);
    say(figureLine(figure));
    figures.push(figure);
  }
  return figures;
}
