import fc from "fast-check";
import { test } from "tap";
import { COOKIE_NAME, COOKIE_PATH, findCookie } from "../../core/index.ts";

const anything = (value: string) => value;

test("a cookie is found in any of several fields, in any case of the field's name and its own case only", async (t) => {
  const headers = ["Accept", "a=0", "cookie", "x=1; A=2", "COOKIE", "b=3;a=4 ; c"];
  t.equal(findCookie(headers, "a", anything), "4");
  t.equal(findCookie(headers, "A", anything), "2");
  t.equal(findCookie(headers, "c", anything), undefined, "a name without a value is no cookie");
  t.equal(findCookie([], "a", anything), undefined);
});

test("of several cookies of one name it is the first of which something can be made", async (t) => {
  const headers = ["Cookie", "a=; a=x; a=7", "Cookie", "a=8"];
  const seen: string[] = [];
  const number = (value: string) => {
    seen.push(value);
    return /^\d+$/.test(value) ? Number(value) : undefined;
  };
  t.equal(findCookie(headers, "a", number), 7);
  t.same(seen, ["", "x", "7"]);
});

test("a value is what stands between the first = and the next semicolon", async (t) => {
  t.equal(findCookie(["Cookie", 'a="x=y"; b=1'], "a", anything), '"x=y"');
  t.equal(findCookie(["Cookie", "=a; ; =; a=1=2;;"], "a", anything), "1=2");
});

test("what is no cookie is no harm, however long it is", async (t) => {
  const pieces = fc.constantFrom(";", "=", " ", "a", "a=", "a=1", ",", '"', "\t", "\xff", "replica", ";;;;");
  const line = fc.array(pieces, { maxLength: 200 }).map((parts) => parts.join(""));
  const property = fc.property(fc.array(line, { maxLength: 5 }), (lines) => {
    const found = findCookie(
      lines.flatMap((value) => ["Cookie", value]),
      "a",
      anything,
    );
    return found === undefined || (!found.includes(";") && lines.some((value) => value.includes("a")));
  });
  fc.assert(property, { seed: 20261121, numRuns: 500 });
  for (const long of ["a".repeat(1 << 20), "a;".repeat(1 << 19), "=".repeat(1 << 20), ";".repeat(1 << 20)])
    t.equal(findCookie(["Cookie", long], "b", anything), undefined);
  t.equal(findCookie(["Cookie", `${"a;".repeat(1 << 19)} b=1`], "b", anything), "1");
});

test("a name is a token, and a path begins with a slash and ends before a semicolon", async (t) => {
  for (const name of ["replica", "__Host-a", "!#$%&'*+-.^_`|~09AZ"]) t.match(name, COOKIE_NAME);
  for (const name of ["", "a b", "a=b", "a;b", "a,b", "a\r\nb", "a\n", "ä", '"a"', "a/b", "(a)"])
    t.notMatch(name, COOKIE_NAME, JSON.stringify(name));
  for (const path of ["/", "/shop", "/a=b,c:d"]) t.match(path, COOKIE_PATH);
  for (const path of ["", "shop", "/a;b", "/a b", "/a\r\nb", "/a\n", "/ä"])
    t.notMatch(path, COOKIE_PATH, JSON.stringify(path));
});
