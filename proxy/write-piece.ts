/**
 * One piece of a body onto a socket, the same way in both directions: as it is, or as one chunk in one system call.
 */
import type { Socket } from "node:net";
import { chunkPieces } from "./http1/index.ts";

/** @returns false when the socket is full, until its "drain" */
export function writePiece(socket: Socket, piece: Uint8Array, chunked: boolean): boolean {
  if (chunked) {
    socket.cork();
    for (const part of chunkPieces(piece)) socket.write(part);
    socket.uncork();
  } else {
    socket.write(piece);
  }
  return !socket.writableNeedDrain;
}
