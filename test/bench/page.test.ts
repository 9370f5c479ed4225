import { test } from "tap";
import { type Figure, figureTable } from "../../bench/figure.ts";
import { latenessLine } from "../../bench/occasion.ts";
import { aboveZero, chosen, wholeNumber, writesPage } from "../../bench/options.ts";
import { linesBetweenMarkers, replaceBetweenMarkers } from "../../bench/page.ts";
import { numbersTable, wordsTable } from "../../bench/table.ts";

const PAGE = "a\n<!-- one:begin -->\nold\n<!-- one:end -->\nb\n<!-- two:begin -->\nstays\n<!-- two:end -->\n";

test("only what stands between the markers of that name is replaced", async (t) => {
  t.equal(replaceBetweenMarkers(PAGE, "new", "one"), PAGE.replace("old", "new"));
  t.same(linesBetweenMarkers(PAGE, "two"), ["", "stays", ""]);
  const message = "expected <!-- three:begin --> and then <!-- three:end --> in the page";
  t.throws(() => replaceBetweenMarkers(PAGE, "new", "three"), { message });
});

test("numbers stand to the right in columns of one width, and a bar in a cell begins no column", async (t) => {
  t.equal(
    numbersTable(
      ["proxy", "ms"],
      [
        ["a", "10.5"],
        ["b|c", "1"],
      ],
    ),
    "| proxy |   ms |\n| ----- | ---: |\n| a     | 10.5 |\n| b\\|c  |    1 |",
  );
  t.equal(wordsTable(["what", ""], [["a|b", "long"]]), "| what |  |\n| --- | --- |\n| a\\|b | long |");
});

test("figures replace those of the same name in the page, and the others stay", async (t) => {
  const figure = (what: string, measured: string): Figure => ({
    what,
    measured,
    target: "1",
    met: true,
    from: "2, 3",
  });
  const earlier = figureTable([figure("a", "1"), figure("b", "2")]).split("\n");
  t.equal(
    figureTable([figure("a", "4")], ["", ...earlier, ""]),
    figureTable([figure("b", "2"), figure("a", "4")]),
  );
  // As it was once written.
  const old = ["| what | measured | target | | from |", "|---|---|---|---|---|", earlier[3]!];
  t.equal(figureTable([figure("a", "4")], old), figureTable([figure("b", "2"), figure("a", "4")]));
});

test("an option that is no number of its kind is refused, and what was got is told", async (t) => {
  t.equal(wholeNumber({}, "rounds", 3), 3);
  t.equal(wholeNumber({ seed: "-1" }, "seed", 1, { least: Number.MIN_SAFE_INTEGER }), -1);
  t.equal(aboveZero({ seconds: "0.5" }, "seconds", 3), 0.5);
  for (const rounds of ["", "0", "1.5", "-1", "x", "101"])
    t.throws(() => wholeNumber({ rounds }, "rounds", 3, { most: 100 }), {
      message: `--rounds: expected a whole number from 1 to 100, got "${rounds}"`,
    });
  for (const seconds of ["", "0", "-1", "x", "Infinity"])
    t.throws(() => aboveZero({ seconds }, "seconds", 3), {
      message: `--seconds: expected a number above 0, got "${seconds}"`,
    });
});

test("--only chooses in the order of the table, whatever the order on the command line", async (t) => {
  t.same(chosen({}, ["a", "b", "c"]), ["a", "b", "c"]);
  t.same(chosen({ only: "c, a" }, ["a", "b", "c"]), ["a", "c"]);
  t.throws(() => chosen({ only: "a,d" }, ["a", "b"]), { message: '--only: expected some of a, b, got "d"' });
});

test("a page is written by a full run, or by one that is told to, and not by one that is told not to", async (t) => {
  t.equal(writesPage({}, true), true);
  t.equal(writesPage({}, false), false);
  t.equal(writesPage({ write: true }, false), true);
  t.equal(writesPage({ "no-write": true }, true), false);
  const message = "--write and --no-write exclude each other";
  t.throws(() => writesPage({ write: true, "no-write": true }, true), { message });
});

test("figures of a machine that had other work say so", async (t) => {
  t.notMatch(latenessLine("a turn", [1, 2, 90]), "other work");
  t.match(
    latenessLine("a turn", [1, 20, 90]),
    "20.0 ms of when they were due; in the worst turn, within 90.0 ms: **",
  );
});
