#!/usr/bin/env node
// The command itself is TypeScript, which Node runs from version 24 on. This file is plain JavaScript, so that an
// older Node can say what is wrong instead of failing on the first type.
const major = Number(process.versions.node.split(".", 1)[0]);
if (major < 24) {
  process.stderr.write(
    `heddle needs Node 24 or newer, and this is ${process.versions.node}.\n` +
      "In a checkout, `npm ci` brings a newer one: call heddle as `npx heddle` or by an npm script.\n",
  );
  process.exit(1);
}
const { main } = await import("../cli/main.ts");
process.exitCode = await main(process.argv.slice(2));
