#!/usr/bin/env node
// The command itself is TypeScript, which Node runs from version 24 on. This file is plain JavaScript, so that an
// older Node can say what is wrong instead of failing on the first type.
import { setFlagsFromString } from "node:v8";

const major = Number(process.versions.node.split(".", 1)[0]);
if (major < 24) {
  process.stderr.write(
    `heddle needs Node 24 or newer, and this is ${process.versions.node}.\n` +
      "In a checkout, `npm ci` brings a newer one: call heddle as `npx heddle` or by an npm script.\n",
  );
  process.exit(1);
}
// A sidecar is quiet for a while and then busy at once. V8 takes some seconds of quiet for the end of the work: it
// forgets compiled code and shrinks its young generation, and the next requests cost up to a third more until both
// have grown back (measured: 31 to 33 microseconds of CPU instead of 25).
setFlagsFromString("--no-flush-bytecode");
setFlagsFromString("--no-memory-reducer");
const { main } = await import("../cli/main.ts");
process.exitCode = await main(process.argv.slice(2));
