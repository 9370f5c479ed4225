/**
 * One question and its reply, as bytes and back. A decision without I/O: which datagram is believed, and what it is.
 *
 * A reply is believed when it repeats the id and the question. Anything else on the socket is foreign and is passed
 * over, not taken as a fault: whoever can send a wrong reply could otherwise end the wait for the right one.
 */
import { type DecodedPacket, decode, encode, RECURSION_DESIRED } from "dns-packet";

export type QuestionType = "A" | "AAAA" | "SRV";

export interface Question {
  readonly name: string;
  readonly type: QuestionType;
}

export type Reply =
  /** Not to this question. */
  | { readonly kind: "foreign" }
  /** Did not fit into a datagram; what it holds is not looked at. */
  | { readonly kind: "truncated" }
  | { readonly kind: "malformed"; readonly why: string }
  | { readonly kind: "answer"; readonly rcode: string; readonly packet: DecodedPacket };

/**
 * The largest datagram that is asked for: it passes every link without fragments, which get lost and can be forged.
 * (DNS flag day 2020.)
 */
const UDP_PAYLOAD_BYTES = 1232;

const HEADER_BYTES = 12;
const RCODES: Readonly<Record<number, string>> = {
  0: "NOERROR",
  1: "FORMERR",
  2: "SERVFAIL",
  3: "NXDOMAIN",
  4: "NOTIMP",
  5: "REFUSED",
  16: "BADVERS",
};

/** @param edns whether to say that larger datagrams may come; some old servers refuse to be told */
export function encodeQuestion({ name, type }: Question, id: number, edns: boolean): Buffer {
  return encode({
    type: "query",
    id,
    flags: RECURSION_DESIRED,
    questions: [{ name, type, class: "IN" }],
    additionals: edns
      ? [
          {
            type: "OPT",
            name: ".",
            udpPayloadSize: UDP_PAYLOAD_BYTES,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  });
}

/** What a message is to the one who asked `question` under `id`. */
export function readReply(message: Buffer, id: number, question: Question): Reply {
  if (message.length < HEADER_BYTES || message.readUInt16BE(0) !== id) return { kind: "foreign" };
  let head: DecodedPacket;
  try {
    head = decode(withoutRecords(message));
  } catch {
    return { kind: "foreign" };
  }
  if (!head.flag_qr || !repeats(head, question)) return { kind: "foreign" };
  // Before the records are read: a server may cut them anywhere.
  if (head.flag_tc) return { kind: "truncated" };
  try {
    const packet = decode(message);
    return { kind: "answer", rcode: rcodeOf(packet), packet };
  } catch (thrown) {
    return { kind: "malformed", why: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/** As DNS compares names: without regard to case and to the dot of the root. */
export function canonicalName(name: string): string {
  return name.replace(/\.$/, "").toLowerCase();
}

/** Whether DNS can be asked for it: labels of 1 to 63 printable characters, 253 in all. */
export function isDomainName(name: string): boolean {
  const bare = name.replace(/\.$/, "");
  // Bytes beyond ASCII are refused, since nobody agrees on them; such names are written in Punycode.
  return bare.length <= 253 && bare.split(".").every((label) => /^[!-~]{1,63}$/.test(label));
}

function repeats(packet: DecodedPacket, { name, type }: Question): boolean {
  const [asked, ...more] = packet.questions ?? [];
  // A server that could not read the question, or will not, may leave it out. That yields an error at most.
  if (asked === undefined) return ((packet.flags ?? 0) & 0xf) !== 0 && rcodeOf(packet) !== "NXDOMAIN";
  return (
    more.length === 0 &&
    asked.type === type &&
    asked.class === "IN" &&
    canonicalName(asked.name) === canonicalName(name)
  );
}

/** The header and the question, so that these can be judged where the rest cannot be read. */
function withoutRecords(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  copy.fill(0, 6, HEADER_BYTES);
  return copy;
}

function rcodeOf(packet: DecodedPacket): string {
  // The upper bits are in the OPT record: without them "bad version" would read as "no error, and no records".
  const opt = packet.additionals?.find((record) => record.type === "OPT");
  const rcode = ((opt?.extendedRcode ?? 0) << 4) | ((packet.flags ?? 0) & 0xf);
  return RCODES[rcode] ?? `RCODE ${rcode}`;
}
