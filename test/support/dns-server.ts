/**
 * A DNS server for tests, by UDP and TCP on one loopback port, that says what the test tells it to.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { type Answer, type DecodedPacket, decode, encode, type Packet, TRUNCATED_RESPONSE } from "dns-packet";
import type { Teardown } from "./apps.ts";

export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly via: "udp" | "tcp";
  /** What the question says of itself, with its id and its EDNS. */
  readonly packet: DecodedPacket;
  /** Where it came from. */
  readonly port: number;
}

export interface Reply {
  /** Its number: 0 when left out, 2 for SERVFAIL, 3 for NXDOMAIN, 5 for REFUSED. */
  readonly rcode?: number;
  readonly answers?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  readonly additionals?: readonly Answer[];
  readonly truncated?: boolean;
  /** In place of what the question says. */
  readonly id?: number;
  readonly questions?: Packet["questions"];
  /** In place of all of it. */
  readonly bytes?: Buffer;
  /** Over TCP: ends the connection after so many bytes. */
  readonly cutAfter?: number;
}

/** What is said to a question, one reply after the other; nothing at all is a timeout. */
export type Script = (asked: Asked) => Reply | readonly Reply[];

export const SERVFAIL: Reply = { rcode: 2 };
export const NXDOMAIN: Reply = { rcode: 3 };
export const REFUSED: Reply = { rcode: 5 };

/** Answers by name and type; for everything else there is no such name. */
export function zone(...records: readonly Answer[]): Script {
  return ({ name, type }) => {
    const answers = records.filter((record) => record.name === name && record.type === type);
    return answers.length > 0 ? { answers } : NXDOMAIN;
  };
}

/** Answers so to one type, and otherwise to all others. */
export const only =
  (type: string, reply: Reply | readonly Reply[], otherwise: Reply = NXDOMAIN): Script =>
  (asked) =>
    asked.type === type ? reply : otherwise;

export class DnsServer {
  /** All questions so far. */
  readonly asked: Asked[] = [];
  /** May be replaced at any time. */
  script: Script;
  readonly #udp: Socket;
  readonly #tcp: Server;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(script: Script, udp: Socket, tcp: Server) {
    this.script = script;
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on("message", (message, from) => this.#answerUdp(message, from));
    tcp.on("connection", (socket) => {
      let held = Buffer.alloc(0);
      // Some tests end the connection early, and the other side may too.
      socket.on("error", () => {});
      socket.on("data", (chunk: Buffer) => {
        held = Buffer.concat([held, chunk]);
        if (held.length < 2 || held.length < 2 + held.readUInt16BE(0)) return;
        const asked = this.#note(held.subarray(2), "tcp", socket.remotePort!);
        for (const reply of this.#repliesTo(asked)) {
          const message = bytesOf(reply, asked);
          const length = Buffer.alloc(2);
          length.writeUInt16BE(message.length);
          const framed = Buffer.concat([length, message]);
          if (reply.cutAfter === undefined) socket.write(framed);
          else socket.end(framed.subarray(0, reply.cutAfter));
        }
      });
    });
  }

  /** `127.0.0.1:port`, as a resolver is written. */
  get address(): string {
    return `127.0.0.1:${this.#udp.address().port}`;
  }

  /** Resolves when so many questions have come. */
  heard(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.asked.length >= count) resolve();
      else this.#waiting.push({ count, resolve });
    });
  }

  /** Sends bytes to where a question came from. */
  send(message: Buffer, port: number): void {
    this.#udp.send(message, port, "127.0.0.1");
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }

  #answerUdp(message: Buffer, from: RemoteInfo): void {
    const asked = this.#note(message, "udp", from.port);
    for (const reply of this.#repliesTo(asked)) this.send(bytesOf(reply, asked), from.port);
  }

  #note(message: Buffer, via: "udp" | "tcp", port: number): Asked {
    const packet = decode(message);
    const { name, type } = packet.questions![0]!;
    const asked = { name, type, via, packet, port };
    this.asked.push(asked);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (this.asked.length < count) return true;
      resolve();
      return false;
    });
    return asked;
  }

  #repliesTo(asked: Asked): readonly Reply[] {
    return [this.script(asked)].flat();
  }
}

/** The bytes of a reply to a question. */
export function bytesOf(reply: Reply, { packet }: Asked): Buffer {
  if (reply.bytes !== undefined) return reply.bytes;
  return encode({
    type: "response",
    id: reply.id ?? packet.id!,
    flags: (reply.rcode ?? 0) | (reply.truncated === true ? TRUNCATED_RESPONSE : 0),
    questions: reply.questions ?? packet.questions ?? [],
    answers: [...(reply.answers ?? [])],
    authorities: [...(reply.authorities ?? [])],
    additionals: [...(reply.additionals ?? [])],
  });
}

/** Starts a server that ends with the test. */
export async function startDnsServer(t: Teardown, script: Script): Promise<DnsServer> {
  for (;;) {
    const tcp = createServer();
    tcp.listen(0, "127.0.0.1");
    await once(tcp, "listening");
    const udp = createSocket("udp4");
    udp.bind((tcp.address() as { readonly port: number }).port, "127.0.0.1");
    try {
      await once(udp, "listening");
    } catch {
      // The number is taken for datagrams: another one.
      tcp.close();
      udp.close();
      continue;
    }
    const server = new DnsServer(script, udp, tcp);
    t.teardown(() => server.close());
    return server;
  }
}

export const a = (name: string, data: string, ttl = 30): Answer => ({ type: "A", name, data, ttl });
export const aaaa = (name: string, data: string, ttl = 30): Answer => ({ type: "AAAA", name, data, ttl });
export const cname = (name: string, data: string, ttl = 30): Answer => ({ type: "CNAME", name, data, ttl });

export function srv(
  name: string,
  target: string,
  port: number,
  { priority = 0, weight = 1, ttl = 30 }: { priority?: number; weight?: number; ttl?: number } = {},
): Answer {
  return { type: "SRV", name, ttl, data: { target, port, priority, weight } };
}

/** Whose zone a name is in, and for how long it may be believed that there is nothing. */
export function soa(name: string, minimum: number, ttl = 3600): Answer {
  return { type: "SOA", name, ttl, data: { mname: `ns.${name}`, rname: `host.${name}`, minimum } };
}
