/**
 * How Envoy shares requests between levels of priority: the tables of its documentation ("Priority levels",
 * arch_overview/upstream/load_balancing/priority), for the tests of the shares and for the simulation that picks by them.
 *
 * As text, so that they can be held beside the page, which has whole per cents: Envoy rounds, heddle does not.
 */

/** Per cent of each level that are healthy, and per cent of the requests that it gets. */
export interface PriorityRow {
  readonly healthy: readonly number[];
  readonly shares: readonly number[];
}

const TWO_LEVELS_ONE_WHOLE = `
  100 100 | 100   0
   72 100 | 100   0
   71 100 |  99   1
   50 100 |  70  30
   25 100 |  35  65
    0 100 |   0 100`;

const TWO_LEVELS = `
  100 100 | 100   0
   72  72 | 100   0
   71  71 |  99   1
   50  50 |  70  30
   25 100 |  35  65
   25  25 |  50  50`;

const THREE_LEVELS = `
  100 100 100 | 100   0   0
   72  72 100 | 100   0   0
   71  71 100 |  99   1   0
   50  50 100 |  70  30   0
   25 100 100 |  35  65   0
   25  25 100 |  35  35  30
   25  25  20 |  36  36  28`;

/** The page's tables, in its order. */
export const ENVOY_PRIORITY_TABLES: readonly (readonly PriorityRow[])[] = [
  TWO_LEVELS_ONE_WHOLE,
  TWO_LEVELS,
  THREE_LEVELS,
].map(rowsOf);

function rowsOf(table: string): PriorityRow[] {
  return table
    .trim()
    .split("\n")
    .map((line) => {
      const [healthy, shares] = line.split("|").map((half) => half.trim().split(/ +/).map(Number));
      return { healthy: healthy!, shares: shares! };
    });
}
