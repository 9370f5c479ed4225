import { test } from "tap";
import { type ManifestResult, processManifests, type Work } from "../../../kubernetes/index.ts";
import { FORMS, MANIFESTS } from "../../support/injecting.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const EDITS = 1_000;

/** Pieces that mean something in YAML or to the injector. */
const PIECES = [
  "\n",
  "  ",
  "\t",
  "-",
  "- ",
  ":",
  ": ",
  "{",
  "}",
  "[",
  "]",
  "'",
  '"',
  "#",
  " # c",
  "&a ",
  "*a",
  "<<: *a",
  "|",
  ">-",
  "---\n",
  "...\n",
  "\r\n",
  "~",
  "null",
  "0",
  "15006",
  "\u{1F600}",
  "\uFEFF",
  "\0",
  "heddle",
  "heddle.dev/port: '1'\n",
  "initContainers: []\n",
  "metadata:\n",
  "!!str ",
  "? ",
  "%YAML 1.1\n",
  "__proto__: 1\n",
  "$(A)",
  "$" + "{A}",
];

test("a thousand random edits of manifests: it never throws, and what it takes it can give back", async (t) => {
  const random = seededRandom(20_261_122);
  const below = (most: number) => Math.floor(random.next() * most);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const texts = Object.values(MANIFESTS).filter((text) => text.length > 0);
  let taken = 0;
  let refused = 0;
  for (let i = 0; i < EDITS; i++) {
    let text = pick(texts);
    for (let edits = 1 + below(3); edits > 0; edits--) {
      const at = below(text.length);
      const end = Math.min(text.length, at + pick([0, 0, 1, 2, 10]));
      const piece = pick([pick(PIECES), pick(PIECES), "", text.slice(at, at + below(60))]);
      text = text.slice(0, at) + piece + text.slice(end);
    }
    const work: Work = { inject: pick(Object.values(FORMS)) };
    const what = `edit ${i}: ${JSON.stringify(text)}`;
    const run = (given: string, todo: Work): ManifestResult => {
      try {
        return processManifests(given, todo);
      } catch (thrown) {
        throw new Error(what, { cause: thrown });
      }
    };
    const once = run(text, work);
    if (once.text === undefined) {
      refused++;
      const places = once.faults.every(({ line, column }) => line >= 1 && column >= 1);
      if (once.faults.length === 0 || !places) t.fail(`refused without a place: ${what}`);
      continue;
    }
    taken++;
    if (run(once.text, work).text !== once.text) t.fail(`twice is not once: ${what}`);
    // An edit may have taken a sidecar apart that was never there; what was injected leads back.
    if (run(once.text, "uninject").text !== text) t.fail(`does not lead back: ${what}`);
  }
  t.equal(taken + refused, EDITS);
  t.ok(taken > EDITS / 4 && refused > EDITS / 10, `${taken} taken, ${refused} refused`);
});
