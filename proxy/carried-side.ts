/**
 * One side of a connection that is carried as it is, the caller's or the endpoint's: its socket as the source of what it says, and as the
 * sink of what the other one says. Both sides are the same here, so that neither can be treated worse.
 *
 * Its law: what the other side has said reaches this one, and then its end; where the other side has broken, or does not listen any
 * more, a reset. What this one says to nobody is read and forgotten: a side that cannot get rid of its own words may not take ours.
 */
import type { Socket } from "node:net";
import { Body, type BodySink, type BodySource, type Clock } from "../core/index.ts";
import { noteRead } from "./bulk-garbage.ts";
import { copyOf } from "./read-buffer.ts";
import { resetBehind } from "./reset.ts";

export interface SideOwner {
  /** So many bytes have come from this side, for the other one. */
  onHeard(bytes: number): void;
  /** So many bytes have been handed to this side; 0 when it has taken what had been handed to it. */
  onTold(bytes: number): void;
}

export class CarriedSide implements BodySource, BodySink {
  /** What it says. */
  readonly says: Body;
  readonly #clock: Clock;
  readonly #owner: SideOwner;
  #socket: Socket | undefined;
  #hears: Body | undefined;
  /** All that the other side has said has been handed to this one. */
  #told = false;
  #alone = false;
  #leaving = false;

  constructor(clock: Clock, owner: SideOwner) {
    this.#clock = clock;
    this.#owner = owner;
    this.says = new Body(this, undefined);
  }

  use(socket: Socket): void {
    this.#socket = socket;
    socket.on("end", () => this.says.end());
    socket.on("drain", () => {
      this.#owner.onTold(0);
      this.#hears?.resume();
    });
  }

  /** To be called once. */
  hear(body: Body): void {
    this.#hears = body;
    body.pipe(this);
  }

  onRead(bytes: Buffer, length: number): void {
    noteRead(length);
    if (this.#alone || this.says.failed) return;
    this.#owner.onHeard(length);
    this.says.push(copyOf(bytes, 0, length));
  }

  /** This side is gone: what it has said goes to the other one, and what that one says to nobody. */
  lost(reason: Error): void {
    this.says.fail(reason);
    this.#hears?.cancel(reason);
  }

  /** The other side is gone. What it had said may still be on its way here. */
  leftAlone(): void {
    this.#alone = true;
    this.#socket?.resume();
    this.#leaveWhenTold();
  }

  // --- as the source of what it says

  pause(): void {
    if (!this.#alone) this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  cancel(): void {
    this.leftAlone();
  }

  // --- as the sink of what the other side says

  write(chunk: Uint8Array): boolean {
    this.#owner.onTold(chunk.length);
    const socket = this.#socket!;
    socket.write(chunk);
    return !socket.writableNeedDrain;
  }

  end(): void {
    this.#told = true;
    this.#socket!.end();
    this.#leaveWhenTold();
  }

  fail(): void {
    this.#told = true;
    this.leftAlone();
  }

  #leaveWhenTold(): void {
    if (!this.#told || !this.#alone || this.#leaving) return;
    this.#leaving = true;
    resetBehind(this.#socket!, this.#clock);
  }
}
