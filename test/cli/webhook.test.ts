import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { test } from "tap";
import { selfSigned } from "../support/kubernetes-api.ts";
import { ApiServer, folderFor, POD, reviewOf } from "../support/webhook.ts";

const HEDDLE = join(import.meta.dirname, "../../bin/heddle.js");
const FILES = ["--certificate", "tls.crt", "--key", "tls.key"];
const FREE = ["--host", "127.0.0.1", "--port", "0", "--health-port", "0"];

function webhook(cwd: string, words: readonly string[]): ChildProcess {
  return spawn(process.execPath, [HEDDLE, "webhook", ...words], { cwd, stdio: ["ignore", "pipe", "pipe"] });
}

test("options that cannot be meant end with 2 and the usage", async (t) => {
  const folder = folderFor(t);
  for (const [words, message] of [
    [[], "--certificate: expected the name of a file in PEM"],
    [["--certificate", "a"], "--key: expected the name of a file in PEM"],
    [[...FILES, "--port", "65536"], '--port: expected a port from 0 to 65535, got "65536"'],
    [[...FILES, "--health-port", "x"], '--health-port: expected a port from 0 to 65535, got "x"'],
    [[...FILES, "--host", "here"], '--host: expected an IP address, got "here"'],
    [[...FILES, "--inject", "some"], '--inject: expected all or asked, got "some"'],
    [[...FILES, "--on-fault", "warn"], '--on-fault: expected deny or allow, got "warn"'],
    [[...FILES, "--on-failure", "x"], '--on-failure: expected deny or allow, got "x"'],
    [[...FILES, "--linger", "5"], '--linger: expected a duration such as 5s, got "5"'],
    [[...FILES, "--image", "a b"], "--image: expected an image"],
    [[...FILES, "more"], "expected heddle webhook"],
    [["--nonsense"], "--nonsense"],
  ] as const) {
    const child = webhook(folder, words);
    const [[code], stderr] = await Promise.all([once(child, "close"), text(child.stderr!)]);
    t.equal(code, 2, words.join(" "));
    t.match(stderr, message);
    t.match(stderr, "expected heddle webhook --certificate");
  }
});

test("without its certificate it ends with 1", async (t) => {
  const child = webhook(folderFor(t), [...FILES, ...FREE]);
  const [[code], stderr] = await Promise.all([once(child, "close"), text(child.stderr!)]);
  t.equal(code, 1);
  t.match(stderr, /^heddle: could not start: .*tls\.crt/);
});

test("SIGTERM in the middle of reviews: every one is answered, by the image that was asked for, and it ends with 0", async (t) => {
  const folder = folderFor(t);
  const pair = selfSigned(folder);
  if (pair === undefined) throw new Error("expected openssl");
  writeFileSync(join(folder, "tls.crt"), pair.cert);
  writeFileSync(join(folder, "tls.key"), pair.key);
  const child = webhook(folder, [
    ...FILES,
    ...FREE,
    "--linger",
    "500ms",
    "--image",
    "registry.example/mesh:2",
  ]);
  t.teardown(() => child.kill("SIGKILL"));
  const closed = once(child, "close");
  const lines = createInterface({ input: child.stdout! });
  const [ready] = await once(lines, "line");
  const { msg, listen } = JSON.parse(ready);
  t.equal(msg, "ready");
  const asked = new Promise<void>((resolve) =>
    lines.on("line", (line) => JSON.parse(line).msg === "asked to end" && resolve()),
  );
  const api = new ApiServer(t, listen.port, pair.cert);
  const first = await api.review(reviewOf(POD));
  t.match(Buffer.from(first.patch!, "base64").toString(), "registry.example/mesh:2");
  let isAsked = false;
  let closing = 0;
  const body = JSON.stringify(reviewOf(POD));
  const callers = Array.from({ length: 4 }, async () => {
    // Until it is told to go elsewhere, as the API server is then.
    for (;;) {
      const { status, headers } = await api.send(body);
      if (status !== 200) throw new Error(`${status}`);
      if (headers["connection"] !== "close") continue;
      t.ok(isAsked);
      closing++;
      return;
    }
  });
  isAsked = child.kill("SIGTERM");
  await Promise.all(callers);
  t.equal(closing, 4);
  const [code] = await closed;
  t.equal(code, 0);
  await asked;
});
