/**
 * A body at a pace: what comes in is handed on at so many bytes per second.
 *
 * Its producer is paused meanwhile like that of any body whose consumer is slow, so that being slow does not mean to hold the
 * whole body in memory.
 */
import { Body, type Clock, type Timer } from "../core/index.ts";

/** Between two pieces. Shorter would be finer than the clock, longer would look like a pause. */
const PIECE_MS = 50;

/** @param bytesPerSecond at least one byte goes with each piece */
export function slowed(body: Body, bytesPerSecond: number, clock: Clock): Body {
  const pieceBytes = Math.max(1, Math.round((bytesPerSecond * PIECE_MS) / 1000));
  let waiting: Uint8Array | undefined;
  let ended: readonly string[] | undefined;
  let timer: Timer | undefined;
  let held = false;

  const next = () => {
    timer = undefined;
    for (let room = pieceBytes; room > 0 && !held; ) {
      // More comes in only when what is here has been handed on.
      if (waiting === undefined) body.resume();
      if (waiting === undefined) break;
      const piece: Uint8Array = waiting.subarray(0, room);
      room -= piece.length;
      waiting = piece.length === waiting.length ? undefined : waiting.subarray(piece.length);
      slow.push(piece);
    }
    if (waiting !== undefined) begin();
    else if (ended !== undefined) slow.end(ended);
  };
  const begin = () => {
    if (held) return;
    timer ??= clock.schedule(PIECE_MS, next);
  };
  const stop = () => {
    timer?.cancel();
    timer = undefined;
    waiting = undefined;
  };

  const slow = new Body(
    {
      pause() {
        held = true;
      },
      resume() {
        held = false;
        begin();
      },
      cancel(reason) {
        stop();
        body.cancel(reason);
      },
    },
    body.length,
  );
  body.pipe({
    write(chunk) {
      waiting = chunk;
      begin();
      return false;
    },
    end(trailers) {
      ended = trailers;
      if (waiting !== undefined) begin();
      else slow.end(trailers);
    },
    fail(cause) {
      stop();
      slow.fail(cause);
    },
  });
  return slow;
}
