#!/usr/bin/env node
// The command itself is TypeScript, which Node runs from version 24 on. This file is plain JavaScript, so that an
// older Node can say what is wrong instead of failing on the first type.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

const major = Number(process.versions.node.split(".", 1)[0]);
if (major < 24) {
  process.stderr.write(
    `heddle needs Node 24 or newer, and this is ${process.versions.node}.\n` +
      "In a checkout, `npm ci` brings a newer one: call heddle as `npx heddle` or by an npm script.\n",
  );
  process.exit(1);
}
// Ten thousand callers that connect at once make V8's young generation grow to 54 MB, and it stays there; 8 MiB for each of its
// three parts cost no time (docs/performance.md). It is read when V8 starts, so the process starts itself again, under the
// same number; where it cannot, it goes on as it is.
const YOUNG_GENERATION = "--max-semi-space-size=8";
const chosen = /--max[-_]semi[-_]space[-_]size/.test(
  `${process.execArgv.join(" ")} ${process.env.NODE_OPTIONS ?? ""}`,
);
if (process.argv[2] === "run" && !chosen && process.channel === undefined) {
  const [node, ...words] = process.argv;
  try {
    process.execve(node, [node, YOUNG_GENERATION, ...process.execArgv, ...words]);
  } catch {
    // Not on Windows, not before Node 23.11, not under --permission: as it is, then.
  }
}
// A sidecar is quiet for a while and then busy at once. V8 takes some seconds of quiet for the end of the work: it
// forgets compiled code and shrinks its young generation, and the next requests cost up to a third more until both
// have grown back (measured: 31 to 33 microseconds of CPU instead of 25).
setFlagsFromString("--no-flush-bytecode");
setFlagsFromString("--no-memory-reducer");
const { main } = isBuilt() ? await import("../dist/cli/main.js") : await import("../cli/main.ts");
process.exitCode = await main(process.argv.slice(2));

/** Whether dist/ holds what the sources say: in a package there are no sources, in a checkout none of them may be newer. */
function isBuilt() {
  const root = new URL("../", import.meta.url);
  const stamp = statSync(new URL("dist/built.json", root), { throwIfNoEntry: false });
  if (stamp === undefined) return false;
  const { rooms, modules } = JSON.parse(readFileSync(new URL("dist/built.json", root), "utf8"));
  let sources = 0;
  for (const room of rooms) {
    const folder = new URL(`${room}/`, root);
    if (!existsSync(folder)) continue;
    for (const file of readdirSync(folder, { recursive: true })) {
      if (statSync(new URL(file, folder)).mtimeMs > stamp.mtimeMs) return false;
      if (file.endsWith(".ts") && !file.endsWith(".d.ts")) sources++;
    }
  }
  return sources === 0 || sources === modules;
}
