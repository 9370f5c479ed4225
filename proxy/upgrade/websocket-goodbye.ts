/**
 * Says goodbye to a WebSocket client in the server's name: a Close frame with 1001 (going away, RFC 6455, 7.4.1), put
 * between two frames of the server, after which nothing more of the server reaches the client. A server that has said
 * it for itself is not interrupted.
 *
 * The frames are followed only as far as their lengths, as that is all it takes to know where one ends: no payload is
 * looked at, no extension matters. The client's own Close passes on to the server and ends the connection there, so that
 * both see an orderly end; a tunnel that is simply cut is seen as 1006, an accident.
 */

/** FIN and opcode 8; two bytes of payload: the status 1001. A server's frames are not masked. */
const CLOSE_GOING_AWAY: Uint8Array = Uint8Array.of(0x88, 2, 1001 >> 8, 1001 & 0xff);
const NOTHING: Uint8Array = new Uint8Array(0);

/** Byte 0 of a frame's head: what it is. */
const OPCODE = 0x0f;
const OPCODE_CLOSE = 8;
/** Byte 1 of a frame's head: is it masked, and how long is its payload, or how many bytes say so? */
const MASKED = 0x80;
const LENGTH = 0x7f;
const LENGTH_IN_2_BYTES = 126;
const LENGTH_IN_8_BYTES = 127;

export class WebSocketGoodbye {
  /** Of the frame's head so far. At most 2 + 8 + 4 bytes. */
  readonly #head: number[] = [];
  #headBytes = 2;
  #payloadBytes = 0;
  #wanted = false;
  #said = false;
  /** From its first byte on the server's own Close is under way for ever: there is no moment after it. */
  #saidByServer = false;

  /** At the end of a frame, or before the first. */
  get #between(): boolean {
    return this.#payloadBytes === 0 && this.#head.length === 0;
  }

  /**
   * Asks for the goodbye.
   * @returns what is to be sent to the client now: the Close frame, or nothing while a frame is under way
   */
  leave(): Uint8Array {
    if (this.#wanted) return NOTHING;
    this.#wanted = true;
    return this.#between ? this.#say() : NOTHING;
  }

  /** Lets the server's bytes pass; returns what of them the client gets, the Close frame in its place. */
  pass(bytes: Uint8Array): Uint8Array {
    if (this.#said) return NOTHING;
    let at = 0;
    while (at < bytes.length && !this.#saidByServer) {
      if (this.#payloadBytes > 0) {
        const taken = Math.min(this.#payloadBytes, bytes.length - at);
        this.#payloadBytes -= taken;
        at += taken;
      } else {
        this.#readHead(bytes[at++]!);
      }
      if (this.#wanted && this.#between) return Buffer.concat([bytes.subarray(0, at), this.#say()]);
    }
    return bytes;
  }

  #say(): Uint8Array {
    this.#said = true;
    return CLOSE_GOING_AWAY;
  }

  #readHead(byte: number): void {
    const head = this.#head;
    head.push(byte);
    if (head.length === 1 && (byte & OPCODE) === OPCODE_CLOSE) this.#saidByServer = true;
    if (head.length === 2) {
      const length = byte & LENGTH;
      const more = length === LENGTH_IN_2_BYTES ? 2 : length === LENGTH_IN_8_BYTES ? 8 : 0;
      this.#headBytes = 2 + more + ((byte & MASKED) === 0 ? 0 : 4);
    }
    if (head.length < 2 || head.length < this.#headBytes) return;
    const short = head[1]! & LENGTH;
    if (short < LENGTH_IN_2_BYTES) this.#payloadBytes = short;
    else {
      this.#payloadBytes = 0;
      const end = short === LENGTH_IN_2_BYTES ? 4 : 10;
      for (let i = 2; i < end; i++) this.#payloadBytes = this.#payloadBytes * 256 + head[i]!;
    }
    head.length = 0;
    this.#headBytes = 2;
  }
}
