/**
 * Makes a text that shows a disagreement as short as deleting can: runs of half its length first, single bytes last,
 * and again from the start of a round as long as a round has helped.
 */

/** @param shows whether a shorter text still shows the same disagreement */
export function shrunk(text: string, shows: (shorter: string) => boolean): string {
  let shortest = text;
  for (let before = ""; before !== shortest; ) {
    before = shortest;
    for (let run = shortest.length >> 1; run >= 1; run >>= 1) {
      for (let at = 0; at + run <= shortest.length; ) {
        const shorter = shortest.slice(0, at) + shortest.slice(at + run);
        if (shows(shorter)) shortest = shorter;
        else at += run;
      }
    }
  }
  return shortest;
}
