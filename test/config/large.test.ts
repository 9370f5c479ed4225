import { test } from "tap";
import { parseConfig } from "../../config/index.ts";

const SERVICE = "service:\n  name: web\n  port: 8080\n";

function lines(many: number, write: (i: number) => string): string {
  return Array.from({ length: many }, (_, i) => write(i)).join("");
}

/** What it costs to read, in milliseconds of this process, so that what else the machine does decides nothing. */
function cpuOf(text: string): number {
  const before = process.cpuUsage();
  parseConfig(text, "HEDDLE_CONFIG", {});
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

test("eight times as many keys cost about eight times as much, and not its square", async (t) => {
  const meta = (many: number) => `${SERVICE}  meta:\n${lines(many, (i) => `    k${i}: v${i}\n`)}`;
  cpuOf(meta(2_500));
  const [few, many] = [cpuOf(meta(2_500)), cpuOf(meta(20_000))];
  t.ok(many < 24 * few, `${few} ms, ${many} ms`);
});

test("what a value costs does not depend on how much stands behind it", async (t) => {
  // With a reference, as those are what is looked for.
  const tags = `${SERVICE}  tags:\n    - \${A:-a}\n${lines(20_000, (i) => `    - t${i}\n`)}`;
  const behind = `${tags}# ${"x".repeat(8_000_000)}\n`;
  cpuOf(tags);
  const [alone, followed] = [cpuOf(tags), cpuOf(behind)];
  t.ok(followed < 4 * alone, `${alone} ms, ${followed} ms`);
});

test("a key that comes again is told at its place, in mappings of both forms and behind an anchor", async (t) => {
  const faultsOf = (text: string) => {
    try {
      parseConfig(text, "heddle.yaml", {});
      return [];
    } catch (thrown) {
      const { faults } = thrown as {
        readonly faults: readonly { line: number; column: number; message: string }[];
      };
      return faults.map(({ line, column, message }) => `${line}:${column} ${message}`);
    }
  };
  t.same(faultsOf("admin: {}\nservice: { name: a, port: 1, name: b }\n&x admin: {}\nadmin: {}\n"), [
    "2:30 expected each key once, got name again",
    "3:4 expected each key once, got admin again",
    "4:1 expected each key once, got admin again",
  ]);
});
