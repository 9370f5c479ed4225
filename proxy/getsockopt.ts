/**
 * getsockopt(2), by which the kernel says of a connection what Node has no word for.
 *
 * Asked through node:ffi, which Node has from 26 on, and loaded only when it is first needed. Not a native addon: that would have to
 * be built, or shipped, for every machine, for one system call.
 */
import type { Socket } from "node:net";

/** What of a socket says which file descriptor is its. Undocumented, as in downstream/take-over.ts. */
interface WithDescriptor {
  readonly _handle: { readonly fd: number } | null;
}

export type GetSockOpt = (fd: number, level: number, option: number, value: Buffer, length: Buffer) => number;

/** @throws Error where there is none */
export function loadGetsockopt(): GetSockOpt {
  // It would be said with every start that it is an experiment.
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    if (ffi === undefined) throw new Error("this Node has no node:ffi");
    return ffi.dlopen(null, {
      getsockopt: { return: "int32", arguments: ["int32", "int32", "int32", "buffer", "buffer"] },
    }).functions.getsockopt;
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** -1 for one that is closed, or that was never connected. */
export function descriptorOf(socket: Socket): number {
  return (socket as unknown as WithDescriptor)._handle?.fd ?? -1;
}
