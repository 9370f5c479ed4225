/**
 * `npm run bench:micro`: the cost of the codec and of the stack alone, in nanoseconds, on an otherwise idle machine.
 */
import { run } from "mitata";
import "./codec.ts";
import "./stack.ts";

await run({ colors: process.stdout.isTTY, format: process.argv.includes("--json") ? "json" : "mitata" });
