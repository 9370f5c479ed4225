import fc from "fast-check";
import { test } from "tap";
import { looksOf, readPattern } from "../../discovery/consul/pattern.ts";
import { type PatternNode, parsePattern } from "../../discovery/consul/pattern-syntax.ts";

/** What is run in its place, or undefined when it is refused. */
function sourceOf(pattern: string): string | undefined {
  const read = readPattern(pattern);
  return "fault" in read ? undefined : read.source;
}

function matches(pattern: string, value: string): boolean | undefined {
  const read = readPattern(pattern);
  if ("fault" in read) return undefined;
  return new RegExp(`^(?:${read.source})$`, read.ignoreCase ? "i" : "").test(value);
}

test("patterns that say in one way only what they take are taken", async (t) => {
  for (const pattern of [
    "",
    "/health",
    "[a-z]+",
    "^/v[0-9]+/.*$",
    "/api/(v1|v2)/.*",
    "/users?/[^/]+/orders/[^/]+",
    "(/[^/]+)*",
    "/api(/.*)?",
    "(foo|bar)+",
    "(ab)*",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "[^@]+@[^@]+\\.[a-z]+",
    "a?a?a?aaa",
    "(a|b|ab)(c|bcd)d*",
    // The end of a wildcard is searched for, and what follows is short, or cannot run over another place where it begins.
    ".*foo.*",
    ".*\\.(css|js)",
    ".*=[0-9]+",
    "/a/.*/b/[^/]+",
    ".*,.*",
    // They take everything, and there is nothing after them that could fail.
    ".*.*.*",
  ])
    t.ok(sourceOf(pattern) !== undefined, pattern);
});

test("patterns that may be tried in many ways are refused, and why", async (t) => {
  const within = "a repetition within a repetition may take for ever";
  const often = "the same characters may be tried too often";
  for (const [pattern, fault] of [
    ["(a+)+", within],
    ["(\\w+\\s?)+$", within],
    ["(.*a){20}", within],
    ["(x+x+)+y", within],
    ["(a{1,1000}){1,1000}", within],
    ["(([a-z]+.)+)+[A-Z]+", within],
    ["(a|aa)+", "a repetition of what may be read in several ways may take for ever"],
    ["(a|a?b)*", "a repetition of what may be read in several ways may take for ever"],
    ["(a*)*", "a repetition of nothing may take for ever"],
    ["(a?){20}", "a repetition of nothing may take for ever"],
    ["(|a)+", "a repetition of nothing may take for ever"],
    ["a{1,1000}{1,1000}", "expected one repetition, got {1,1000}{"],
    [".*.*=.*", often],
    [".*foo.*bar", often],
    [".*a[a-z]*b", often],
    [".*a(a*c){2}", often],
    ["x*x*", often],
    ["[a-z]+[0-9]*[a-z]+", often],
    ["a?".repeat(20) + "a".repeat(20), often],
    ["(a|a)".repeat(60), often],
    ["a".repeat(513), "expected at most 512 characters"],
  ] as const) {
    const read = readPattern(pattern);
    t.equal("fault" in read && read.fault, fault, pattern);
  }
});

test("what JavaScript would read in another way is translated, or refused in words", async (t) => {
  for (const [pattern, source] of [
    ["(?P<id>[0-9]+)", "[0-9]+"],
    ["(?<id>a|b)c", "(?:a|b)c"],
    ["[[:alpha:]_]+", "[A-Z_a-z]+"],
    ["[^[:digit:]]", "[^0-9]"],
    ["[[:^digit:]]", "[^0-9]"],
    ["[]a]", "[\\x5da]"],
    ["[^]a]", "[^\\x5da]"],
    ["[a-]", "[\\x2da]"],
    ["[[a]", "[\\x5ba]"],
    ["\\A/a\\z", "^/a$"],
    ["\\s", "[\\x09\\x0a\\x0c\\x0d ]"],
    ["\\x41\\.", "[A]\\."],
    ["a{,5}", "a\\{,5\\}"],
    ["a}]", "a\\}\\]"],
  ] as const)
    t.equal(sourceOf(pattern), source, pattern);
  for (const pattern of [
    "(?=a)",
    "(?!a)",
    "(?<=a)b",
    "(?i:a)b",
    "a(?i)b",
    "(?m)^a$",
    "(?U)a+",
    "(a)\\1",
    "\\pN",
    "\\p{Greek}",
    "\\Qa.b\\E",
    "\\C",
    "\\0",
    "\\x{41}",
    "\\x80",
    "[[:word",
    "[[:umlaut:]]",
    "[\\b]",
    "[z-a]",
    "[\\d-z]",
    "é",
    "[ä-ü]",
    "a**",
    "a++",
    "a{2,1}",
    "a{1001}",
    "{2}",
    "*a",
    "(",
    "(a",
    "a)",
    "[a",
    "[]",
    "a\\",
  ])
    t.equal(sourceOf(pattern), undefined, pattern);
});

test("what is taken matches the same values as with Consul", async (t) => {
  for (const [pattern, value, expected] of [
    ["(?i)/Orders/[a-f]+", "/ORDERS/ABC", true],
    ["(?is)/a.b", "/AxB", true],
    ["(?i)[^a]", "A", false],
    ["/orders", "/orders/1", false],
    ["/orders|/items", "/items", true],
    ["/orders|/items", "/items/1", false],
    ["[[:xdigit:]]+", "0aF", true],
    ["[[:alpha:]]", ":]", false],
    ["[]a]+", "]a]", true],
    ["\\s", "\xa0", false],
    ["\\w+", "gr\xfcn", false],
    ["a\\z", "az", false],
    ["[^/]+", "caf\xc3\xa9", true],
    ["\\bfoo\\b.*", "foo bar", true],
    ["(ab){2}", "abab", true],
    ["a{,2}", "aa", false],
  ] as const)
    t.equal(matches(pattern, value), expected, `${pattern} and ${value}`);
});

/** Goes back and tries again as the engine does, and counts the characters that it looks at. */
function looksAt(tree: PatternNode, value: string, most: number): number {
  let looks = 0;
  const go = (node: PatternNode, at: number, then: (at: number) => boolean): boolean => {
    if (node.type === "one") {
      if (++looks > most) throw new RangeError(`more than ${most} looks`);
      return at < value.length && ((node.set >> BigInt(value.charCodeAt(at))) & 1n) === 1n && then(at + 1);
    }
    if (node.type === "place") return (node.text === "^" ? at === 0 : at === value.length) && then(at);
    if (node.type === "sequence") {
      const from = (i: number, here: number): boolean =>
        i === node.of.length ? then(here) : go(node.of[i]!, here, (next) => from(i + 1, next));
      return from(0, at);
    }
    if (node.type === "choice") return node.of.some((part) => go(part, at, then));
    const again = (times: number, here: number): boolean =>
      (times < node.most && go(node.of, here, (next) => next > here && again(times + 1, next))) ||
      (times >= node.least && then(here));
    return again(0, at);
  };
  go(tree, 0, (at) => at === value.length);
  return looks;
}

test("no character is looked at more often than is said, whatever the pattern that is taken and the value", async (t) => {
  const { atom } = fc.letrec<{ atom: string; part: string; all: string }>((tie) => ({
    atom: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom("a", "b", "[ab]", ".", "[^a]", "c"),
      tie("all").map((inner) => `(${inner})`),
    ),
    part: fc
      .tuple(tie("atom"), fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{0,3}", "{2,}", "*?"))
      .map(([of, repetition]) => of + repetition),
    all: fc
      .tuple(fc.array(tie("part"), { minLength: 1, maxLength: 5 }), fc.option(tie("part"), { freq: 3 }))
      .map(([parts, other]) => parts.join("") + (other === null ? "" : `|${other}`)),
  }));
  const patterns = fc.array(atom, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));
  const values = fc.oneof(
    fc.constantFrom("a", "b", "ab", "aab", "abb", "ca").map((unit) => unit.repeat(60)),
    fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 120 }).map((letters) => letters.join("")),
  );
  let taken = 0;
  fc.assert(
    fc.property(patterns, fc.array(values, { minLength: 3, maxLength: 3 }), (pattern, hostile) => {
      if (sourceOf(pattern) === undefined) return;
      taken++;
      const { tree } = parsePattern(pattern);
      // With an end that does not match, so that every way is tried.
      for (const value of hostile) looksAt(tree, `${value}\n`, looksOf(tree) * (value.length + 2));
    }),
    { seed: 20261121, numRuns: 4000 },
  );
  t.ok(taken > 500, `${taken} of 4,000 patterns were taken`);
});

test("the count sees what it is to see: a pattern that is refused looks without end", async (t) => {
  for (const [pattern, value] of [
    ["(a+)+", `${"a".repeat(30)}!`],
    ["(a|aa)+", `${"a".repeat(40)}!`],
    [".*.*.*=x", "=".repeat(200)],
  ] as const)
    t.throws(() => looksAt(parsePattern(pattern).tree, value, 256 * (value.length + 2)), RangeError, pattern);
});

test("what is taken ends on hostile values of 8 KiB in the engine itself", async (t) => {
  const fill = (unit: string) => unit.repeat(Math.ceil(8192 / unit.length));
  for (const [pattern, unit, end] of [
    [".*foo.*", "fo", ""],
    [".*\\.(css|js)", ".cs", ""],
    [".*=[0-9]+", "=1", "!"],
    ["/a/.*/b/[^/]+", "/b/x", "/"],
    ["(/[^/]+)*", "/x", "/"],
    ["[^@]+@[^@]+\\.[a-z]+", "@.a", ""],
    ["(foo|bar)+", "foo", "fo"],
    [`a?a?a?aaa.*${"b".repeat(20)}`, "b", "!"],
  ] as const)
    t.equal(matches(pattern, `${fill(unit)}${end}`), false, pattern);
});

test("a text of any kind is read or refused, and never thrown over", async (t) => {
  const pieces = fc.constantFrom(
    ..."()[]{}|*+?.^$\\-,:P<>=!isdwbxpQ1a\u00e9".split(""),
    "[[:alpha:]]",
    "(?P<",
    "\\x4",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const read = readPattern(parts.join(""));
      return "fault" in read ? read.fault !== "" : new RegExp(`^(?:${read.source})$`) instanceof RegExp;
    }),
    { seed: 20261121, numRuns: 5000 },
  );
  t.equal(sourceOf("(".repeat(256) + ")".repeat(256)), "", "groups that are deep are not deep any more");
});
