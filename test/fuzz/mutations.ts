/**
 * What is done to a connection that was right: bytes changed, dropped and put in, lines doubled, exchanged and mixed
 * with those of another. Each mutation is a function of the text and of chance, and none looks at what the text means.
 */
import type { Dice } from "./chance.ts";
import { BYTES, FIELD_LINES, FRAGMENTS } from "./pieces.ts";

/** @param other another connection, to take parts from */
export type Mutation = (text: string, dice: Dice, other: () => string) => string;

/** Each as often as the others. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  flipBit(text, dice) {
    const at = dice.below(text.length);
    const flipped = String.fromCharCode((text.charCodeAt(at) ^ (1 << dice.below(8))) & 0xff);
    return replaced(text, at, at + 1, flipped);
  },
  changeByte(text, dice) {
    const at = dice.below(text.length);
    return replaced(text, at, at + 1, dice.one(BYTES));
  },
  insertByte(text, dice) {
    const at = dice.below(text.length + 1);
    return replaced(text, at, at, dice.one(BYTES));
  },
  insertAnyByte(text, dice) {
    const at = dice.below(text.length + 1);
    return replaced(text, at, at, String.fromCharCode(dice.below(256)));
  },
  deleteByte(text, dice) {
    const at = dice.below(text.length);
    return replaced(text, at, at + 1, "");
  },
  deleteRun(text, dice) {
    const at = dice.below(text.length);
    return replaced(text, at, at + 1 + dice.below(12), "");
  },
  insertFragment(text, dice) {
    const at = dice.below(text.length + 1);
    return replaced(text, at, at, dice.one(FRAGMENTS));
  },
  /** Where a value begins or ends, which is where most readers look away. */
  insertAtEdge(text, dice) {
    const edges = [...text.matchAll(/\r\n|: ?|;|,/g)];
    if (edges.length === 0) return text;
    const edge = dice.one(edges);
    const at = edge.index + (dice.chance(0.5) ? edge[0].length : 0);
    return replaced(text, at, at, dice.one(dice.chance(0.5) ? BYTES : FRAGMENTS));
  },
  changeNumber(text, dice) {
    const numbers = [...text.matchAll(/[0-9]+/g)];
    if (numbers.length === 0) return text;
    const number = dice.one(numbers);
    const close = String(Math.max(0, Number(number[0]) + dice.one([-1, 1, 2])));
    const put = dice.chance(0.6) ? close : dice.one(FRAGMENTS);
    return replaced(text, number.index, number.index + number[0].length, put);
  },
  breakLineEnd(text, dice) {
    const ends = [...text.matchAll(/\r\n/g)];
    if (ends.length === 0) return text;
    const { index } = dice.one(ends);
    return replaced(
      text,
      index,
      index + 2,
      dice.one(["\n", "\r", "", "\r\r\n", "\n\r\n", "\r\n\r\n", " \r\n"]),
    );
  },
  insertFieldLine(text, dice) {
    return withLines(text, dice, (lines, at) => lines.splice(at + 1, 0, dice.one(FIELD_LINES)));
  },
  duplicateLine(text, dice) {
    return withLines(text, dice, (lines, at) => lines.splice(at, 0, lines[at]!));
  },
  dropLine(text, dice) {
    return withLines(text, dice, (lines, at) => lines.splice(at, 1));
  },
  swapLines(text, dice) {
    return withLines(text, dice, (lines, at) => {
      const other = dice.below(lines.length);
      [lines[at], lines[other]] = [lines[other]!, lines[at]!];
    });
  },
  spliceLines(text, dice, other) {
    return withLines(text, dice, (lines, at) => {
      const others = other().split("\r\n");
      const from = dice.below(others.length);
      lines.splice(at, dice.below(3), ...others.slice(from, from + 1 + dice.below(4)));
    });
  },
  truncate: (text, dice) => text.slice(0, dice.below(text.length)),
  join: (text, dice, other) => (dice.chance(0.5) ? text + other() : other() + text),
  cross(text, dice, other) {
    const theirs = other();
    return text.slice(0, dice.below(text.length + 1)) + theirs.slice(dice.below(theirs.length + 1));
  },
  lengthen(text, dice) {
    const at = dice.below(text.length + 1);
    return replaced(text, at, at, dice.one([..." \ta0/;"]).repeat(4 + dice.below(24)));
  },
};

function replaced(text: string, start: number, end: number, by: string): string {
  return text.slice(0, start) + by + text.slice(end);
}

/** @param change is told a line that there is */
function withLines(text: string, dice: Dice, change: (lines: string[], at: number) => void): string {
  const lines = text.split("\r\n");
  change(lines, dice.below(lines.length));
  return lines.join("\r\n");
}
