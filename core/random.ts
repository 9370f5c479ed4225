/**
 * Chance as it is handed to algorithms, so that a test can seed it and a simulation can be replayed.
 */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

/** A whole number in [0, bound), each equally likely. `bound` must be at least 1. */
export function below(random: Random, bound: number): number {
  return Math.floor(random.next() * bound);
}
