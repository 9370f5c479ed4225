import fc from "fast-check";
import { test } from "tap";
import { isName } from "../../core/index.ts";

/** What a field name may consist of (RFC 9110, 5.6.2), the characters next to letters in the alphabet among them. */
const TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const aName = fc.string({ unit: fc.constantFrom(...TOKEN), minLength: 1, maxLength: 4 });
/** The same in another case, here and there with another character. */
const another = (name: string) =>
  fc
    .array(fc.constantFrom("lower", "upper", "same", "bit"), {
      minLength: name.length,
      maxLength: name.length,
    })
    .map((ways) =>
      [...name]
        .map((character, place) => {
          if (ways[place] === "lower") return character.toLowerCase();
          if (ways[place] === "upper") return character.toUpperCase();
          // What an upper-case letter has another of: `^` and `~`, `_` and DEL.
          return ways[place] === "bit" ? String.fromCharCode(character.charCodeAt(0) ^ 32) : character;
        })
        .join(""),
    );

test("a field name is another's in whatever case, and nothing that only looks like one", async (t) => {
  const property = fc.property(
    aName.chain((name) => fc.tuple(fc.constant(name.toLowerCase()), fc.oneof(aName, another(name)))),
    ([lowerCaseName, name]) => isName(name, lowerCaseName) === (name.toLowerCase() === lowerCaseName),
  );
  t.doesNotThrow(() => fc.assert(property, { seed: 5, numRuns: 20_000 }));
});
