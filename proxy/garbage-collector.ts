/**
 * V8's collector, which it offers only to contexts that are made while a flag is set.
 *
 * The flag is not taken back: flags are those of all threads, and a worker that starts at the same time may be about to make
 * its own context.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

interface Collection {
  readonly type: "major" | "minor";
  /** "last-resort" gives back every page that it can. */
  readonly flavor?: "last-resort";
}

setFlagsFromString("--expose-gc");

/** Collects now, and returns when it is done. */
export const collectGarbage = runInNewContext("gc") as (collection: Collection) => void;
