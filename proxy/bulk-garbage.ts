/**
 * Keeps the memory of large transfers flat.
 *
 * What is passed on is copied out of the read buffer, up to 64 KiB at a time, outside of V8's heap. V8 counts it only
 * for major collections, some 64 MiB late, while a minor one, which takes 0.1 ms here, would free it: the
 * buffers are dead as soon as they have been written. So one is asked for after so many bytes of bulk. Measured
 * on 1 GiB each way: memory grows by a quarter of what it did.
 */
import { collectGarbage } from "./garbage-collector.ts";

const COLLECT_EVERY_BYTES = 8 * 1024 * 1024;
/** A read of less is a message, and its garbage is collected with the rest of it. */
const BULK_BYTES = 16 * 1024;

let sinceCollectionBytes = 0;

/** To be told of every read. */
export function noteRead(bytes: number): void {
  if (bytes < BULK_BYTES) return;
  sinceCollectionBytes += bytes;
  if (sinceCollectionBytes < COLLECT_EVERY_BYTES) return;
  sinceCollectionBytes = 0;
  collectGarbage({ type: "minor" });
}
