/**
 * `npm run bench:webhook`: how long the API server waits for `heddle webhook`, as its client measures it, over TLS and from another process.
 *
 * The creation of every pod waits for this, so it is the wait that is measured and not the number of reviews per second. One review at a time on a kept
 * connection, as in quiet; then many at once, as when a Deployment is scaled up, where each waits for those in front of it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { makeCertificate } from "../../kubernetes/webhook/certificates.ts";
import type { Teardown } from "../../test/support/apps.ts";
import { ApiServer, POD, reviewOf } from "../../test/support/webhook.ts";
import { command } from "../command.ts";
import { place, placeWords } from "../occasion.ts";
import { numbersTable } from "../table.ts";

const HEDDLE = join(import.meta.dirname, "../../bin/heddle.js");
const WARM_UP = 500;
const REVIEWS = 3_000;
const AT_ONCE = [1, 10, 100];
const usage = "usage: npm run bench:webhook\n";

await command("bench", { usage, options: {} }, async (_, { ends }) => {
  const api = await startWebhook(ends);
  await waits(api, WARM_UP, 1);
  const rows: string[][] = [];
  for (const atOnce of AT_ONCE) {
    const tookMs = await waits(api, REVIEWS, atOnce);
    const at = (share: number) => `${tookMs[Math.floor((tookMs.length - 1) * share)]!.toFixed(1)} ms`;
    rows.push([String(atOnce), at(0.5), at(0.99), at(1)]);
  }
  const table = numbersTable(["at once", "median", "99 of 100 below", "longest"], rows);
  process.stdout.write(`${table}\n\n- ${placeWords(place())}, ${availableParallelism()} cores\n`);
});

/** The webhook in a process of its own, and who asks it. */
async function startWebhook(t: Teardown): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const files = { cert: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  const made = await makeCertificate(["localhost"], Date.now(), 3_600_000);
  writeFileSync(files.cert, made.cert);
  writeFileSync(files.key, made.key);
  const words = ["--host", "127.0.0.1", "--port", "0", "--health-port", "0", "--linger", "1ms"];
  const child = spawn(
    process.execPath,
    [HEDDLE, "webhook", "--certificate", files.cert, "--key", files.key, ...words],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const gone = once(child, "exit");
  t.teardown(async () => {
    child.kill("SIGTERM");
    await gone;
  });
  const lines = createInterface({ input: child.stdout });
  const ended = gone.then(([code]) => {
    throw new Error(`the webhook ended (${code}) before it was ready`);
  });
  ended.catch(() => {});
  const [ready] = await Promise.race([once(lines, "line"), ended]);
  // What it logs is read, so that it does not wait for us.
  lines.on("line", () => {});
  return new ApiServer(t, JSON.parse(ready).listen.port, made.ca, { servername: "localhost" });
}

/** How long each of these reviews took, in milliseconds, sorted. */
async function waits(api: ApiServer, count: number, atOnce: number): Promise<number[]> {
  const tookMs: number[] = [];
  let left = count;
  const caller = async () => {
    while (left-- > 0) {
      const review = reviewOf(POD);
      const beganMs = performance.now();
      const { patch } = await api.review(review);
      tookMs.push(performance.now() - beganMs);
      if (patch === undefined) throw new Error("a review came back without a patch");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  return tookMs.toSorted((a, b) => a - b);
}
