/**
 * `npm run bench:overload`: what is left of an app, and of heddle, when there is three times as much to do as can be done.
 *
 * Beside the end-to-end tests, which promise in which order requests are let in and refused, and by no clock: here are the figures. A
 * missed target is said and is no failure, as in the other benches.
 */
import { command, say } from "../command.ts";
import { occasion } from "../occasion.ts";
import { aboveZero, optionsOf, wholeNumber, writesPage } from "../options.ts";
import { writeIntoPage } from "../page.ts";
import { sidecarIsFull } from "./own-scene.ts";
import { report } from "./report.ts";
import { appIsFull } from "./scenes.ts";

/** A run that is shorter leaves the page as it is, unless it is told to write. */
const FULL = { rounds: 3, seconds: 20 };
/** A closed loop needs no longer: it has no queue that must first be full. */
const OWN_SECONDS = 5;
const usage = `usage: npm run bench:overload -- [--rounds ${FULL.rounds}] [--seconds ${FULL.seconds}] [--write | --no-write]\n`;
const options = optionsOf("rounds", "seconds", "write", "no-write");

await command("bench", { usage, options }, async (values) => {
  const rounds = wholeNumber(values, "rounds", FULL.rounds);
  const seconds = aboveZero(values, "seconds", FULL.seconds);
  const writes = writesPage(values, rounds >= FULL.rounds && seconds >= FULL.seconds);
  const app = await appIsFull({ rounds, seconds, say });
  const own = await sidecarIsFull({ rounds, seconds: Math.min(OWN_SECONDS, seconds), say });
  const text = report(app, own, { ...occasion(), rounds, seconds });
  process.stdout.write(`${text}\n`);
  if (writes) writeIntoPage("benchmarks.md", "overload", text);
});
