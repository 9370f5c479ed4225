/**
 * One look at a file: what it holds, or why that cannot be believed, and a stamp by which a change is noticed.
 */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { Instance } from "../source.ts";
import { type EntryFault, readEntries } from "./entries.ts";

export interface Look {
  readonly stamp: string;
  readonly outcome: { readonly instances: readonly Instance[] } | { readonly why: string };
}

/** A list of endpoints that is longer is no list of endpoints, and would hold up the traffic while it is read. */
const MOST_BYTES = 16 * 1024 * 1024;

interface Stats {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** The same as long as the same file stands under the path, unchanged; a symbolic link counts as what it leads to. */
export async function stampOf(path: string): Promise<string> {
  try {
    return stampFrom(await stat(path, { bigint: true }));
  } catch (thrown) {
    return codeOf(thrown);
  }
}

/**
 * @param source for the instances: who named them
 * @param labelled whether their tags and metadata are wanted
 */
export async function look(path: string, source: string, labelled: boolean): Promise<Look> {
  let handle: FileHandle | undefined;
  try {
    // Without blocking: to open a named pipe would wait until somebody writes into it.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const before = await handle.stat({ bigint: true });
    const stamp = stampFrom(before);
    const refused = (why: string): Look => ({ stamp, outcome: { why: `${path}: ${why}` } });
    if (!before.isFile())
      return refused(`expected a file, got ${before.isDirectory() ? "a folder" : "a device"}`);
    if (before.size > MOST_BYTES) return refused(`expected at most ${MOST_BYTES} bytes, got ${before.size}`);
    const bytes = await handle.readFile();
    const after = await handle.stat({ bigint: true });
    // Not the stamp: a file that is replaced meanwhile loses its name, which is a change to it and none to its content.
    if (after.size !== before.size || after.mtimeNs !== before.mtimeNs)
      return refused("expected a file at rest, got one that changed while it was read");
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return refused("expected UTF-8 text, got other bytes");
    }
    const reading = readEntries(text, source, labelled);
    return { stamp, outcome: "faults" in reading ? { why: formatFaults(path, reading.faults) } : reading };
  } catch (thrown) {
    const code = codeOf(thrown);
    const came = code === "ENOENT" ? "none" : code;
    return { stamp: code, outcome: { why: `${path}: expected a file that can be read, got ${came}` } };
  } finally {
    await handle?.close();
  }
}

function stampFrom({ dev, ino, size, mtimeNs, ctimeNs }: Stats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

function codeOf(thrown: unknown): string {
  return (thrown as NodeJS.ErrnoException).code ?? String(thrown);
}

/** The first one, which editors can jump to, and how many others there are. */
function formatFaults(path: string, faults: readonly EntryFault[]): string {
  const [{ place, path: at, message }] = faults as [EntryFault];
  const where = `${path}:${place.line}:${place.column}: ${at === "" ? "" : `${at}: `}${message}`;
  return faults.length === 1 ? where : `${where}; and ${faults.length - 1} more`;
}
