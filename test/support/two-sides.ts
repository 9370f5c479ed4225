/**
 * The two ends of a connection that carries anything, as they speak, rest, end and break by chance: what each hears is held against what
 * the other one has said.
 */
import type { Socket } from "node:net";
import type { Random } from "../../core/index.ts";

const LONGEST = 400_000;
/** What either side says, from its first byte on: no byte can be lost, doubled or moved unseen. */
export const SPEECH = Buffer.from(
  Array.from({ length: 4_000_000 }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff),
);

/** One end: it says its speech piece by piece, and checks that it hears the other's from its beginning. */
export class Side {
  readonly socket: Socket;
  said = 0;
  heard = 0;
  garbled = false;
  ended = false;
  /** Nothing was cut off on this side. */
  orderly = true;
  readonly closed: Promise<void>;

  constructor(socket: Socket, firstBytes: Buffer) {
    this.socket = socket;
    socket.removeAllListeners("data");
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => resolve());
    });
    socket.on("end", () => {
      this.ended = true;
    });
    if (firstBytes.length > 0) this.#hear(firstBytes);
    socket.on("data", (bytes: Buffer) => this.#hear(bytes));
  }

  say(length: number): void {
    if (this.socket.writableEnded || this.said + length > SPEECH.length) return;
    this.socket.write(SPEECH.subarray(this.said, this.said + length));
    this.said += length;
  }

  cut(how: "destroy" | "resetAndDestroy"): void {
    const { socket } = this;
    this.orderly = false;
    // Node loses a socket that is reset while its end is being sent.
    if (socket.writableEnded && !socket.writableFinished) socket.destroy();
    else socket[how]();
  }

  /** Hears the rest, and ends. */
  async finish(): Promise<void> {
    const { socket } = this;
    socket.resume();
    if (!socket.writableEnded) socket.end();
    await this.closed;
  }

  #hear(bytes: Buffer): void {
    if (!bytes.equals(SPEECH.subarray(this.heard, this.heard + bytes.length))) this.garbled = true;
    this.heard += bytes.length;
  }
}

/** Lets the event loop go round. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
}

function act(side: Side, random: Random): void {
  const chance = random.next();
  if (chance < 0.35) side.say(Math.floor(random.next() * 2000));
  else if (chance < 0.5) side.say(Math.floor(random.next() * LONGEST));
  else if (chance < 0.65) side.socket.pause();
  else if (chance < 0.8) side.socket.resume();
  else if (chance < 0.9) side.socket.end();
  else if (chance < 0.95) side.cut("destroy");
  else side.cut("resetAndDestroy");
}

/** Lets both sides act in turn, with the event loop going round between them. */
export async function live(sides: readonly [Side, Side], random: Random): Promise<void> {
  for (let acts = Math.floor(random.next() * 12); acts > 0; acts--) {
    act(sides[random.next() < 0.5 ? 0 : 1], random);
    await turns(Math.floor(random.next() * 4));
  }
  await Promise.all(sides.map((side) => side.finish()));
}
