/**
 * What a record itself has under a key: names come from outside, and under `constructor` every object has something.
 */
export function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
