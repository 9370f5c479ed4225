/**
 * Reads a pattern in the syntax of RE2, which is Consul's, and writes it for the engine of JavaScript.
 *
 * The two look alike and are not: `[[:alpha:]]`, `[]a]`, `\z`, `\pN` and `(?P<name>…)` are understood by one, and by the
 * other are mistaken for something else without a word. So nothing is handed through: what is not read here is a fault.
 */

/** Characters as bits, one for each byte: what is compared is a field or a path, which are bytes. */
export type CharacterSet = bigint;

export type PatternNode =
  | { readonly type: "one"; readonly set: CharacterSet; readonly text: string }
  /** `^`, `$`, `\b`: takes no character. */
  | { readonly type: "place"; readonly text: string }
  | { readonly type: "sequence"; readonly of: readonly PatternNode[] }
  | { readonly type: "choice"; readonly of: readonly PatternNode[] }
  | {
      readonly type: "repeat";
      readonly of: PatternNode;
      readonly least: number;
      readonly most: number;
      readonly text: string;
    };

export interface PatternSyntax {
  readonly tree: PatternNode;
  readonly ignoreCase: boolean;
}

/** @throws PatternFault for what is no pattern of RE2, or one that is not understood here */
export function parsePattern(pattern: string): PatternSyntax {
  const flags = /^\(\?([is]+)\)/.exec(pattern);
  const ignoreCase = flags?.[1]?.includes("i") === true;
  const parser = new Parser(pattern.slice(flags?.[0].length ?? 0), ignoreCase);
  return { tree: parser.all(), ignoreCase };
}

/** As JavaScript writes it, without the flag for letters of any case. */
export function patternText(node: PatternNode): string {
  switch (node.type) {
    case "one":
    case "place":
      return node.text;
    case "sequence":
      return node.of.map(patternText).join("");
    case "choice":
      return `(?:${node.of.map(patternText).join("|")})`;
    case "repeat": {
      const { of } = node;
      const text = patternText(of);
      return (of.type === "sequence" ? `(?:${text})` : text) + node.text;
    }
  }
}

/** What is wrong with a pattern, in words. */
export class PatternFault extends Error {}

const ALL: CharacterSet = (1n << 256n) - 1n;

/** No value that is compared has a line break in it: the codec refuses it. */
export const ANY: CharacterSet = ALL & ~setOf("\n");

const DIGITS = range("0", "9");
const LETTERS = range("a", "z") | range("A", "Z");
const WORD = DIGITS | LETTERS | setOf("_");
const SPACES = setOf("\t\n\f\r ");

const ESCAPED_SETS: ReadonlyMap<string, CharacterSet> = new Map([
  ["d", DIGITS],
  ["D", ALL & ~DIGITS],
  ["w", WORD],
  ["W", ALL & ~WORD],
  ["s", SPACES],
  ["S", ALL & ~SPACES],
]);

const ESCAPED_CHARACTERS: ReadonlyMap<string, string> = new Map([
  ["t", "\t"],
  ["n", "\n"],
  ["r", "\r"],
  ["f", "\f"],
  ["v", "\v"],
  ["a", "\x07"],
]);

const PLACES: ReadonlyMap<string, string> = new Map([
  ["A", "^"],
  ["z", "$"],
  ["b", "\\b"],
  ["B", "\\B"],
]);

const REPETITION = /^(?:[*+?]|\{\d+(?:,\d*)?\})/;
const PUNCTUATION = range("!", "/") | range(":", "@") | range("[", "`") | range("{", "~");

const CLASSES: ReadonlyMap<string, CharacterSet> = new Map([
  ["alnum", DIGITS | LETTERS],
  ["alpha", LETTERS],
  ["ascii", range("\0", "\x7f")],
  ["blank", setOf("\t ")],
  ["cntrl", range("\0", "\x1f") | setOf("\x7f")],
  ["digit", DIGITS],
  ["graph", range("!", "~")],
  ["lower", range("a", "z")],
  ["print", range(" ", "~")],
  ["punct", PUNCTUATION],
  ["space", SPACES | setOf("\v")],
  ["upper", range("A", "Z")],
  ["word", WORD],
  ["xdigit", DIGITS | range("a", "f") | range("A", "F")],
]);

/** RE2's own limit. */
const MOST_REPEATS = 1000;

class Parser {
  readonly #pattern: string;
  readonly #ignoreCase: boolean;
  #at = 0;

  constructor(pattern: string, ignoreCase: boolean) {
    this.#pattern = pattern;
    this.#ignoreCase = ignoreCase;
  }

  all(): PatternNode {
    const tree = this.#choice();
    if (this.#at < this.#pattern.length) throw new PatternFault("expected ( before )");
    return tree;
  }

  #next(): string {
    return this.#pattern.charAt(this.#at);
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #choice(): PatternNode {
    const of = [this.#sequence()];
    while (this.#take("|")) of.push(this.#sequence());
    return of.length === 1 ? of[0]! : { type: "choice", of };
  }

  #sequence(): PatternNode {
    const of: PatternNode[] = [];
    while (!["", "|", ")"].includes(this.#next())) of.push(this.#repeated(this.#atom()));
    return of.length === 1 ? of[0]! : { type: "sequence", of };
  }

  #repeated(of: PatternNode): PatternNode {
    const [all, sign, least, comma, most] =
      /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(this.#pattern.slice(this.#at)) ?? [];
    if (all === undefined) return of;
    this.#at += all.length;
    if (REPETITION.test(this.#pattern.slice(this.#at)))
      throw new PatternFault(`expected one repetition, got ${all}${this.#next()}`);
    const text = all;
    if (sign !== undefined)
      return {
        type: "repeat",
        of,
        least: sign === "+" ? 1 : 0,
        most: sign === "?" ? 1 : Number.POSITIVE_INFINITY,
        text,
      };
    const from = Number(least);
    const to = comma === "" ? from : most === "" ? Number.POSITIVE_INFINITY : Number(most);
    if (from > MOST_REPEATS || (to > MOST_REPEATS && to !== Number.POSITIVE_INFINITY) || from > to)
      throw new PatternFault(`expected at most ${MOST_REPEATS} repetitions, the fewer first, got ${all}`);
    return { type: "repeat", of, least: from, most: to, text };
  }

  #atom(): PatternNode {
    const next = this.#next();
    if (REPETITION.test(this.#pattern.slice(this.#at)))
      throw new PatternFault(`expected something to repeat before ${next}`);
    if (next === "(") return this.#group();
    if (next === "[") return this.#class();
    this.#at++;
    if (next === ".") return { type: "one", set: ANY, text: "." };
    if (next === "^" || next === "$") return { type: "place", text: next };
    if (next === "\\") return this.#escaped();
    return this.#one(setOf(ascii(next)), /[{}\]]/.test(next) ? `\\${next}` : next);
  }

  #group(): PatternNode {
    const [opening, flags] = /^\((?:\?(?:P?<\w+>|([^)<]*?[:)])))?/.exec(this.#pattern.slice(this.#at)) ?? [];
    if (opening === undefined || (flags !== undefined && flags !== ":"))
      throw new PatternFault("flags within a pattern and look-around are not understood");
    this.#at += opening.length;
    const inner = this.#choice();
    if (!this.#take(")")) throw new PatternFault("expected ) after (");
    // Of its own, so that a repetition after it is of the whole.
    return inner.type === "choice" || inner.type === "one" ? inner : { type: "sequence", of: [inner] };
  }

  #escaped(): PatternNode {
    const place = PLACES.get(this.#next());
    if (place !== undefined) {
      this.#at++;
      return { type: "place", text: place };
    }
    const set = this.#escapedSet();
    return this.#one(set, setText(set));
  }

  /** After the backslash. */
  #escapedSet(): CharacterSet {
    const next = this.#next();
    const [hexadecimal] = /^x[0-7][\dA-Fa-f]/.exec(this.#pattern.slice(this.#at)) ?? [];
    this.#at += hexadecimal?.length ?? 1;
    if (hexadecimal !== undefined) return 1n << BigInt(`0${hexadecimal}`);
    const known = ESCAPED_SETS.get(next) ?? setOf(ESCAPED_CHARACTERS.get(next) ?? "");
    if (known !== 0n) return known;
    if (next !== "" && (setOf(ascii(next)) & PUNCTUATION) !== 0n) return setOf(next);
    throw new PatternFault(`\\${next} is not understood`);
  }

  #class(): PatternNode {
    this.#at++;
    const negated = this.#take("^");
    let set = 0n;
    for (let first = true; first || this.#next() !== "]"; first = false) {
      if (this.#next() === "") throw new PatternFault("expected ] after [");
      set |= this.#classItem();
    }
    this.#at++;
    if (this.#ignoreCase) set = folded(set);
    const all = negated ? ALL & ~set : set;
    return { type: "one", set: all, text: setText(all) };
  }

  #classItem(): CharacterSet {
    const [named, not, name] = /^\[:(\^?)(\w+):\]/.exec(this.#pattern.slice(this.#at)) ?? [];
    if (named !== undefined) {
      const set = CLASSES.get(name!);
      if (set === undefined) throw new PatternFault(`the class ${named} is not understood`);
      this.#at += named.length;
      return not === "" ? set : ALL & ~set;
    }
    const from = this.#classCharacter();
    // A dash at the end stands for itself.
    if (this.#next() !== "-" || /^-(?:\]|$)/.test(this.#pattern.slice(this.#at))) return from;
    this.#at++;
    const to = this.#classCharacter();
    if (!isOne(from) || !isOne(to) || from > to)
      throw new PatternFault("expected a range such as a-z in [ ]");
    // All bits from the one to the other.
    return (to << 1n) - from;
  }

  #classCharacter(): CharacterSet {
    if (this.#take("\\")) return this.#escapedSet();
    const next = this.#next();
    this.#at++;
    return setOf(ascii(next));
  }

  #one(set: CharacterSet, text: string): PatternNode {
    return { type: "one", set: this.#ignoreCase ? folded(set) : set, text };
  }
}

function ascii(character: string): string {
  if (character > "\x7f") throw new PatternFault("expected only characters of ASCII");
  return character;
}

function setOf(characters: string): CharacterSet {
  let set = 0n;
  for (const character of characters) set |= 1n << BigInt(character.charCodeAt(0));
  return set;
}

function range(from: string, to: string): CharacterSet {
  return (setOf(to) << 1n) - setOf(from);
}

function isOne(set: CharacterSet): boolean {
  return set !== 0n && (set & (set - 1n)) === 0n;
}

/** With the letters of the other case. */
function folded(set: CharacterSet): CharacterSet {
  return set | ((set & range("A", "Z")) << 32n) | ((set & range("a", "z")) >> 32n);
}

function setText(set: CharacterSet): string {
  if (set === ALL) return "[^]";
  if ((set & PUNCTUATION) === set && isOne(set))
    return `\\${String.fromCharCode(set.toString(2).length - 1)}`;
  const rest = ALL & ~set;
  // The shorter of the two; those above ASCII are many.
  const negated = set >> 255n === 1n;
  const ranges: string[] = [];
  const shown = negated ? rest : set;
  for (let code = 0; code < 256; code++) {
    if (((shown >> BigInt(code)) & 1n) === 0n) continue;
    const from = code;
    while (code < 255 && ((shown >> BigInt(code + 1)) & 1n) === 1n) code++;
    ranges.push(codeText(from) + (code > from + 1 ? "-" : "") + (code > from ? codeText(code) : ""));
  }
  return `[${negated ? "^" : ""}${ranges.join("")}]`;
}

function codeText(code: number): string {
  const character = String.fromCharCode(code);
  return /[\w/.:=@ ]/.test(character) ? character : `\\x${code.toString(16).padStart(2, "0")}`;
}
