/**
 * Whether a pattern of Consul's may be run here.
 *
 * RE2, for which it was written, takes linear time whatever it is asked. The engine of JavaScript goes back and tries
 * again, for years if the pattern is unlucky, and the text that makes it do so comes from whoever calls. No limit of
 * time ends it. So a pattern is taken only if it follows from its form that no character is looked at more than
 * MOST_LOOKS times, and this is the whole of the reason:
 *
 * - Where there is a choice, to repeat once more or to go on, this alternative or that, and the next character decides it,
 *   going back to it later fails at once. Such choices cost nothing, also within repetitions.
 * - One that the next character does not decide is taken only outside of repetitions. Alternatives then add up; after a
 *   repetition such as `.*`, what follows is tried at each character: so its length counts, and must be bounded. It is,
 *   also with repetitions in it, if these cannot run over a place where it may begin: `.*=[0-9]+` and not `.*a[a-z]*b`.
 * - `.*` at the end takes everything, and nothing is tried after it.
 */
import {
  ANY,
  type CharacterSet,
  PatternFault,
  type PatternNode,
  parsePattern,
  patternText,
} from "./pattern-syntax.ts";

/** For an engine that matches the whole of a value. */
export interface Pattern {
  readonly source: string;
  readonly ignoreCase: boolean;
}

const MOST_CHARACTERS = 512;
const MOST_LOOKS = 256;

/** @returns what is wrong with it, in words, when it is not taken */
export function readPattern(pattern: string): Pattern | { readonly fault: string } {
  if (pattern.length > MOST_CHARACTERS) return { fault: `expected at most ${MOST_CHARACTERS} characters` };
  try {
    const { tree, ignoreCase } = parsePattern(pattern);
    if (looksOf(tree) > MOST_LOOKS) throw new PatternFault(TOO_DEAR);
    const source = patternText(tree);
    new RegExp(source);
    return { source, ignoreCase };
  } catch (thrown) {
    // Whatever is wrong with it, it is the pattern's fault.
    return { fault: (thrown as Error).message };
  }
}

/**
 * How often one character of a value may be looked at.
 * @throws PatternFault when there is no telling
 */
export function looksOf(tree: PatternNode): number {
  return costOf(tree, END, false).looks;
}

const TOO_DEAR = "the same characters may be tried too often";

/** What is known of a part of a pattern together with all that follows it. */
interface Cost {
  /** With what it may begin; the end of the value is one more character. */
  readonly first: CharacterSet;
  /** How often one character may be looked at. */
  readonly looks: number;
  /** How many characters it may take, where an unbounded repetition counts as one. */
  readonly length: number;
  /** What the unbounded repetitions in it may run over. */
  readonly wide: CharacterSet;
  /** It cannot fail. */
  readonly certain: boolean;
}

const END: Cost = { first: 1n << 256n, looks: 1, length: 0, wide: 0n, certain: false };

/** @param within a repetition, where a choice that the next character does not decide would be made again and again */
function costOf(node: PatternNode, then: Cost, within: boolean): Cost {
  switch (node.type) {
    case "one":
      return { ...then, first: node.set, length: then.length + 1, certain: false };
    case "place":
      return node.text === "$" && then === END ? END : { ...then, certain: false };
    case "sequence":
      return node.of.reduceRight((after, part) => costOf(part, after, within), then);
    case "choice":
      return costOfChoice(
        node.of.map((part) => costOf(part, then, within)),
        within,
      );
    case "repeat":
      if (node.most === 0) return then;
      if (node.most === 1) {
        const once = costOf(node.of, then, within);
        return node.least === 1 ? once : costOfChoice([once, then], within);
      }
      return costOfRepeat(node, then, within);
  }
}

function costOfChoice(parts: readonly Cost[], within: boolean): Cost {
  let first = 0n;
  let wide = 0n;
  let decided = true;
  for (const part of parts) {
    if ((first & part.first) !== 0n) decided = false;
    first |= part.first;
    wide |= part.wide;
  }
  if (!decided && within)
    throw new PatternFault("a repetition of what may be read in several ways may take for ever");
  const looks = parts.map((part) => part.looks);
  return {
    first,
    looks: decided ? Math.max(...looks) : looks.reduce((sum, more) => sum + more, 0),
    length: Math.max(...parts.map((part) => part.length)),
    wide,
    certain: parts.some((part) => part.certain),
  };
}

function costOfRepeat(
  { of, least, most }: Extract<PatternNode, { type: "repeat" }>,
  then: Cost,
  within: boolean,
): Cost {
  const isEndless = most === Number.POSITIVE_INFINITY;
  if (isEndless && of.type === "one" && of.set === ANY && then === END)
    return { ...END, first: least === 0 ? ANY | END.first : ANY, length: least, certain: least === 0 };
  const first = firstOf(of, NOTHING);
  if ((first & NOTHING) !== 0n) throw new PatternFault("a repetition of nothing may take for ever");
  // What begins it once more is among what may follow it.
  const body = costOf(of, { ...END, first: first | then.first }, true);
  const decided = then.certain || (first & then.first) === 0n;
  if (!decided && within) throw new PatternFault("a repetition within a repetition may take for ever");
  const isWide = isEndless || most > MOST_LOOKS;
  // Where what follows may begin anew while it is being read, it may be read from everywhere to the end.
  const reach = (then.wide & then.first) === 0n ? then.length : Number.POSITIVE_INFINITY;
  const starts = decided ? 1 : Math.min(reach, isEndless ? reach : most - least + 1);
  return {
    first: least === 0 ? first | then.first : first,
    looks: 1 + body.looks + starts * then.looks,
    length: then.length + (isWide ? 1 : most * body.length),
    wide: then.wide | (isWide ? charactersOf(of) : body.wide),
    certain: then.certain && least === 0,
  };
}

/** For a part by itself: what would come next is a character that there is not. */
const NOTHING: CharacterSet = 1n << 257n;

/** @param then with what may begin what follows, where the part may be empty */
function firstOf(node: PatternNode, then: CharacterSet): CharacterSet {
  switch (node.type) {
    case "one":
      return node.set;
    case "place":
      return then;
    case "sequence":
      return node.of.reduceRight((after, part) => firstOf(part, after), then);
    case "choice":
      return node.of.reduce((all, part) => all | firstOf(part, then), 0n);
    case "repeat":
      if (node.most === 0) return then;
      return firstOf(node.of, then) | (node.least === 0 ? then : 0n);
  }
}

function charactersOf(node: PatternNode): CharacterSet {
  switch (node.type) {
    case "one":
      return node.set;
    case "place":
      return 0n;
    case "repeat":
      return charactersOf(node.of);
    default:
      return node.of.reduce((all, part) => all | charactersOf(part), 0n);
  }
}
