/**
 * One case: what arrives on a connection, which way it goes, and the limits it is read with.
 *
 * About a third is left as the grammar made it, so that what both readers accept is seen as often as what they refuse.
 */
import { DEFAULT_LIMITS, type MessageLimits } from "../../proxy/http1/index.ts";
import { type Dice, diceOf } from "./chance.ts";
import { longBeginning } from "./long.ts";
import { request, response } from "./messages.ts";
import { MUTATIONS } from "./mutations.ts";

export interface Connection {
  readonly kind: "requests" | "responses";
  /** One character is one byte. */
  readonly text: string;
  /** Of the requests that are answered, for responses; the last one stands for all that follow. */
  readonly methods: readonly string[];
  readonly limits: MessageLimits;
}

/** Every reading of every split costs as much as it has bytes, so a long case costs the square. */
const MOST_BYTES = 240;
/** Small enough for ordinary messages to pass and for slightly larger ones not to. */
const SMALL_LIMITS: MessageLimits = { startLineBytes: 24, headBytes: 72, fieldCount: 2 };

export function connectionOf(seed: number, caseNumber: number): Connection {
  const dice = diceOf(seed, caseNumber);
  const kind = dice.chance(0.6) ? "requests" : "responses";
  const methods = Array.from({ length: dice.one(COUNTS) }, () => (dice.chance(0.12) ? "HEAD" : "GET"));
  const create = () =>
    methods.map((method) => (kind === "requests" ? request(dice) : response(dice, method))).join("");
  const text = mutated(dice.chance(0.03) ? `\r\n${create()}` : create(), dice, create).slice(0, MOST_BYTES);
  if (dice.chance(0.004))
    return { kind, text: longBeginning(kind, dice) + text, methods, limits: DEFAULT_LIMITS };
  return { kind, text, methods, limits: dice.chance(0.04) ? SMALL_LIMITS : DEFAULT_LIMITS };
}

/** How many messages follow each other. */
const COUNTS = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4];
const CHANGES = [0, 0, 0, 1, 1, 1, 1, 1, 2, 3];
const EACH = Object.values(MUTATIONS);

function mutated(text: string, dice: Dice, other: () => string): string {
  let changed = text;
  for (let changes = dice.one(CHANGES); changes > 0; changes--)
    if (changed !== "") changed = dice.one(EACH)(changed, dice, other);
  return changed;
}
