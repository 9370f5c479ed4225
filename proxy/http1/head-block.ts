/**
 * One block of lines, a head or trailers, read in a single pass over its bytes: the only place that accepts one.
 *
 * `scan` knows what is right and little about what is wrong: whatever is not exactly a start line, fields and an empty
 * line, or is not all there yet, is "no", and only then `refuse` looks for the reason. So accepting is one short loop
 * that a reviewer can hold in the head. It runs over bytes and not over a string, since an index into bytes is the
 * cheapest thing JavaScript has; the string is made once, of a block that is known to be good.
 */
import { MessageFault } from "./fault.ts";
import { assertCleanBlock, isBlank, TEXT_BYTES, TOKEN_BYTES } from "./grammar.ts";

const LF = 10;
const CR = 13;
const COLON = 58;

/** Offsets per field: name, colon, beginning and end of the value. */
const MARKS = 4;

export class HeadBlock {
  #marks: Int32Array = new Int32Array(16 * MARKS);
  /** The bytes of the block, valid until the next read; positions in `text` are relative to `start`. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  /** The start line and all field lines with their CRLF, one character per byte. */
  text = "";
  /** Where the start line ends in `text`. */
  lineEnd = 0;
  fieldCount = 0;
  #stoppedAt = 0;

  /**
   * Returns the offset behind the empty line that ends the block, or -1 if it is not well-formed or not complete.
   * @param trailers the block has an empty start line, else it must have one that is not
   */
  scan(bytes: Buffer, start: number, end: number, trailers: boolean, maxFields: number): number {
    let marks = this.#marks;
    let count = 0;
    let i = start;
    this.#stoppedAt = start;
    while (i < end && TEXT_BYTES[bytes[i]!] === 1) i++;
    if (i + 1 >= end || bytes[i] !== CR || bytes[i + 1] !== LF) return -1;
    const lineEnd = i - start;
    if ((lineEnd === 0) !== trailers) return -1;
    i += 2;
    for (;;) {
      const name = i;
      this.#stoppedAt = name;
      while (i < end && TOKEN_BYTES[bytes[i]!] === 1) i++;
      if (i + 1 >= end) return -1;
      if (i === name) {
        if (bytes[i] !== CR || bytes[i + 1] !== LF) return -1;
        break;
      }
      if (bytes[i] !== COLON || count === maxFields) return -1;
      const colon = i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      const value = i;
      while (i < end && TEXT_BYTES[bytes[i]!] === 1) i++;
      if (i + 1 >= end || bytes[i] !== CR || bytes[i + 1] !== LF) return -1;
      let valueEnd = i;
      while (valueEnd > value && isBlank(bytes[valueEnd - 1]!)) valueEnd--;
      const mark = count * MARKS;
      if (mark === marks.length) marks = this.#growMarks(maxFields);
      marks[mark] = name - start;
      marks[mark + 1] = colon - start;
      marks[mark + 2] = value - start;
      marks[mark + 3] = valueEnd - start;
      count++;
      i += 2;
    }
    this.bytes = bytes;
    this.start = start;
    this.lineEnd = lineEnd;
    this.fieldCount = count;
    this.text = bytes.toString("latin1", start, i);
    return i + 2;
  }

  /**
   * Says why `scan` has refused a block that is complete.
   * @param text the block with the CRLF of its last line, its first character being where the scan began
   * @param start where the scan began
   */
  refuse(text: string, start: number): never {
    assertCleanBlock(text);
    const line = this.#stoppedAt - start;
    if (line === 0) throw new MessageFault("empty_start_line");
    const end = text.indexOf("\r\n", line);
    const colon = text.indexOf(":", line);
    if (isBlank(text.charCodeAt(line))) throw new MessageFault("folded_line");
    if (colon === -1 || colon > end) throw new MessageFault("missing_colon");
    if (colon > line && isBlank(text.charCodeAt(colon - 1))) throw new MessageFault("space_before_colon");
    for (let i = line; i < colon; i++)
      if (TOKEN_BYTES[text.charCodeAt(i)] !== 1) throw new MessageFault("malformed_field_name");
    throw new MessageFault(colon === line ? "malformed_field_name" : "too_many_fields");
  }

  nameStart(field: number): number {
    return this.#marks[field * MARKS]!;
  }

  nameEnd(field: number): number {
    return this.#marks[field * MARKS + 1]!;
  }

  name(field: number): string {
    const mark = field * MARKS;
    return this.text.slice(this.#marks[mark]!, this.#marks[mark + 1]!);
  }

  value(field: number): string {
    const mark = field * MARKS;
    return this.text.slice(this.#marks[mark + 2]!, this.#marks[mark + 3]!);
  }

  /** Whether a field has this name, whatever its case. `lowerCaseName` holds letters and hyphens only. */
  isNamed(field: number, lowerCaseName: Uint8Array): boolean {
    const { bytes } = this;
    const at = this.start + this.#marks[field * MARKS]!;
    // Setting bit 5 makes an upper-case letter a lower-case one, and nothing but a letter a letter.
    for (let i = 0; i < lowerCaseName.length; i++)
      if ((bytes[at + i]! | 32) !== lowerCaseName[i]) return false;
    return true;
  }

  #growMarks(maxFields: number): Int32Array {
    const grown = new Int32Array(Math.min(this.#marks.length * 2, maxFields * MARKS));
    grown.set(this.#marks);
    this.#marks = grown;
    return grown;
  }
}
