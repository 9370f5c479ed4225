/**
 * Waiting for what nobody announces, such as a state that only a question shows. What is announced is awaited as an event instead.
 */
import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks until it holds; what it throws means that it does not yet. The limit only says what was waited for in vain.
 * @throws Error with the last reason
 */
export async function eventually(
  what: string,
  holds: () => Promise<boolean> | boolean,
  limitMs = 20_000,
): Promise<void> {
  let reason = "";
  for (const untilMs = performance.now() + limitMs; ; await pause(20)) {
    try {
      if (await holds()) return;
    } catch (thrown) {
      reason = `: ${(thrown as Error).message}`;
    }
    if (performance.now() > untilMs) throw new Error(`waited ${limitMs} ms for ${what}${reason}`);
  }
}
