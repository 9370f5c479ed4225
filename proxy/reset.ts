/**
 * Ends a connection with a reset, so that what has been said on it is not taken for all that there was to say.
 *
 * A reset discards what was written and has not arrived yet, and that may be megabytes: the kernel takes far more than a
 * slow reader does. Where somebody else has broken off, and what was said before is still to be heard, the reset therefore waits for it.
 * An end would not: behind it comes no reset any more. When the other side has got everything the kernel alone knows, and it is
 * asked; where it cannot be, as outside of Linux, what it holds is lost.
 */
import type { Socket } from "node:net";
import type { Clock } from "../core/index.ts";
import { descriptorOf, type GetSockOpt, loadGetsockopt } from "./getsockopt.ts";

/** How often it is looked whether the other side has got more. */
const LOOK_MS = 20;

// linux/tcp.h: of struct tcp_info, the packets that are not acknowledged yet, and the bytes behind them.
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const UNACKNOWLEDGED_AT = 24;
const UNSENT_AT = 144;
const INFO_BYTES = 148;

/** Harmless for one that is closed. */
export function reset(socket: Socket): void {
  // Node waits with the reset of one that is connecting, and fails over one whose end is on its way to the kernel. That
  // is so for a turn, when all bytes have gone before: an end behind bytes that wait has not been asked for yet.
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (socket.connecting || socket.destroyed || isEnding) socket.destroy();
  else socket.resetAndDestroy();
}

/** Ends a connection at once: with a reset, unless nothing was to be said, or all of it has been, and its end. */
export function cut(socket: Socket, silent: boolean): void {
  if (silent || socket.writableFinished) socket.destroy();
  else reset(socket);
}

/**
 * Resets a connection when the other side has got what was written before. Nothing bounds the wait here: who does not wait any longer calls
 * `reset`. It must be read from meanwhile: a side that speaks and is not heard may not listen either.
 */
export function resetBehind(socket: Socket, clock: Clock): void {
  if (socket.destroyed) return;
  if (socket.writableLength === 0 && !isOnItsWay(socket)) reset(socket);
  else clock.schedule(LOOK_MS, () => resetBehind(socket, clock));
}

let getsockopt: GetSockOpt | undefined;
// Calls do not overlap.
const info = Buffer.alloc(INFO_BYTES);
const infoLength = Buffer.alloc(4);

/** Whether the kernel holds something that has not been acknowledged. */
function isOnItsWay(socket: Socket): boolean {
  getsockopt ??= whereItCanBeAsked();
  infoLength.writeInt32LE(INFO_BYTES);
  if (getsockopt(descriptorOf(socket), IPPROTO_TCP, TCP_INFO, info, infoLength) !== 0) return false;
  return info.readUInt32LE(UNACKNOWLEDGED_AT) > 0 || info.readUInt32LE(UNSENT_AT) > 0;
}

function whereItCanBeAsked(): GetSockOpt {
  const nobody = () => -1;
  if (process.platform !== "linux") return nobody;
  try {
    return loadGetsockopt();
  } catch {
    return nobody;
  }
}
