/**
 * Who waits for a turn: one line for each rank of criticality, from which the one at either end may be taken.
 *
 * Linked by the turns themselves. A Set keeps the order of arrival, too, but has no last one, and the newest is asked
 * for exactly when there are many.
 */

/** One that waits; made for one wait and used in one queue. */
export class Turn {
  /** 0 goes first. */
  readonly rank: number;
  /** Called when the turn has come; the permit is then held. */
  readonly granted: () => void;
  /** Called when its place has been given to another. */
  readonly refused: () => void;
  /** Who came just before, and just after. */
  older: Turn | undefined = undefined;
  newer: Turn | undefined = undefined;
  isWaiting = false;

  constructor(rank: number, granted: () => void, refused: () => void) {
    this.rank = rank;
    this.granted = granted;
    this.refused = refused;
  }
}

interface Line {
  oldest: Turn | undefined;
  newest: Turn | undefined;
}

export class TurnQueue {
  readonly #lines: readonly Line[];
  #size = 0;

  constructor(ranks: number) {
    this.#lines = Array.from({ length: ranks }, () => ({ oldest: undefined, newest: undefined }));
  }

  get size(): number {
    return this.#size;
  }

  add(turn: Turn): void {
    const line = this.#lines[turn.rank]!;
    turn.older = line.newest;
    turn.isWaiting = true;
    if (line.newest === undefined) line.oldest = turn;
    else line.newest.newer = turn;
    line.newest = turn;
    this.#size++;
  }

  /** Harmless for one that does not wait. */
  remove(turn: Turn): void {
    if (!turn.isWaiting) return;
    const line = this.#lines[turn.rank]!;
    if (turn.older === undefined) line.oldest = turn.newer;
    else turn.older.newer = turn.newer;
    if (turn.newer === undefined) line.newest = turn.older;
    else turn.newer.older = turn.older;
    turn.older = undefined;
    turn.newer = undefined;
    turn.isWaiting = false;
    this.#size--;
  }

  /** Takes one of the first line in which anybody waits. */
  takeFirst(from: "oldest" | "newest"): Turn | undefined {
    for (const line of this.#lines) {
      const turn = line[from];
      if (turn === undefined) continue;
      this.remove(turn);
      return turn;
    }
    return undefined;
  }

  /** Takes one of the last line in which anybody waits, unless that line stands before `leastRank`. */
  takeLast(from: "oldest" | "newest", leastRank: number): Turn | undefined {
    for (let rank = this.#lines.length - 1; rank >= leastRank; rank--) {
      const turn = this.#lines[rank]![from];
      if (turn === undefined) continue;
      this.remove(turn);
      return turn;
    }
    return undefined;
  }
}
