/**
 * `npm run bench:micro`: the cost of the codec, of the stack and of choosing alone, on an otherwise idle machine.
 * Its script starts V8 as bin/heddle.js does.
 */
import { run } from "mitata";
import "./codec.ts";
import "./hashing.ts";
import { printPauses } from "./pauses.ts";
import { printPicks } from "./picks.ts";
import "./stack.ts";

const json = process.argv.includes("--json");
await run({ colors: process.stdout.isTTY, format: json ? "json" : "mitata" });
if (!json) {
  printPicks();
  await printPauses();
}
