/**
 * Ends a connection with a reset, so that what has been said on it is not taken for all that there was to say.
 */
import type { Socket } from "node:net";

/** Harmless for one that is closed. */
export function reset(socket: Socket): void {
  // Node waits with the reset of one that is connecting, and fails over one whose end is on its way to the kernel. That
  // is so for a turn, when all bytes have gone before: an end behind bytes that wait has not been asked for yet.
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (socket.connecting || socket.destroyed || isEnding) socket.destroy();
  else socket.resetAndDestroy();
}
