// Runs before the tests, in plain JavaScript, so that an old Node says what is wrong instead of failing on a type.
const major = Number(process.versions.node.split(".", 1)[0]);
if (major < 24) {
  process.stderr.write(
    `The tests need Node 24 or newer, and this is ${process.versions.node}. \`npm ci\` brings one, unless optional ` +
      "dependencies were left out (--omit=optional) or none is published for this platform; run them by `npm test`.\n",
  );
  process.exit(1);
}
