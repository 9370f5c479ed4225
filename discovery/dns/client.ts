/**
 * Asks the servers in turn until one of them knows, which includes knowing that there is nothing.
 *
 * Not node:dns: it gives no TTL for SRV records and none at all for an answer that there is nothing, it drops the
 * additional section, and it tells a name without records and a server in trouble apart only for some types. The
 * packets are dns-packet's.
 *
 * The order of the servers is kept and begins anew with each question, as resolv.conf promises. To stay with the one
 * that answered last would be faster while the first is down; but the second may see another world, in which the
 * mesh's names do not exist, and one lost packet would be enough to end there for good.
 */
import { randomInt } from "node:crypto";
import { Resolver } from "node:dns";
import { isIP } from "node:net";
import type { DecodedPacket } from "dns-packet";
import type { Clock } from "../../core/index.ts";
import { encodeQuestion, type Question, readReply } from "./message.ts";
import { askByTcp, askByUdp, type Believed, type Server } from "./transport.ts";

/** A reply that decides: there is something under the name, or there is not. */
export interface Answer {
  readonly rcode: "NOERROR" | "NXDOMAIN";
  readonly packet: DecodedPacket;
}

/** So a server says that it does not understand the question; perhaps it does without EDNS. */
const NOT_UNDERSTOOD: ReadonlySet<string> = new Set(["FORMERR", "NOTIMP", "BADVERS"]);

const DEFAULT_PORT = 53;

export class DnsClient {
  readonly #servers: readonly string[] | undefined;
  readonly #clock: Clock;

  /** @param servers `ip:port` each, asked in this order; undefined for those that the system asks */
  constructor(servers: readonly string[] | undefined, clock: Clock) {
    this.#servers = servers;
    this.#clock = clock;
  }

  /**
   * @throws Error that says of every server why it gave no answer, or when the signal is aborted
   */
  async ask(question: Question, signal: AbortSignal): Promise<Answer> {
    const failures: string[] = [];
    for (const server of this.#servers ?? systemServers()) {
      try {
        return await this.#askServer(parseServer(server), question, signal);
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        failures.push(`${server}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      }
    }
    throw new Error(`${question.name} ${question.type}: ${failures.join("; ") || "no server to ask"}`);
  }

  async #askServer(server: Server, question: Question, signal: AbortSignal): Promise<Answer> {
    let reply = await this.#exchange(server, question, true, signal);
    if (NOT_UNDERSTOOD.has(reply.rcode)) reply = await this.#exchange(server, question, false, signal);
    const { rcode, packet } = reply;
    if (rcode !== "NOERROR" && rcode !== "NXDOMAIN") throw new Error(rcode);
    if (isReferral(packet)) throw new Error("it refers to other servers, and does not ask them itself");
    return { rcode, packet };
  }

  async #exchange(server: Server, question: Question, edns: boolean, signal: AbortSignal) {
    // Not parts.random: from a few of V8's numbers the next ones can be computed, and whoever knows the id can forge.
    const id = randomInt(0x1_0000);
    const message = encodeQuestion(question, id, edns);
    const read = (received: Buffer) => readReply(received, id, question);
    const bounds = { clock: this.#clock, signal };
    let reply: Believed = await askByUdp(server, message, read, bounds);
    if (reply.kind === "truncated") reply = await askByTcp(server, message, read, bounds);
    if (reply.kind === "truncated") throw new Error("the answer is truncated on a connection too");
    if (reply.kind === "malformed") throw new Error(`the answer cannot be read: ${reply.why}`);
    return reply;
  }
}

/**
 * `10.0.0.2:53`, `[::1]:53`, or without a port.
 * @throws Error when it is no IP address
 */
export function parseServer(text: string): Server {
  // A zone, as in fe80::1%eth0, is part of the address.
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|(\d+\.\d+\.\d+\.\d+))(?::(\d{1,5}))?$/.exec(text);
  const bare = match === null && /^[0-9A-Fa-f:.]+(?:%.+)?$/.test(text) ? text : undefined;
  const address = match?.[1] ?? match?.[2] ?? bare;
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (address === undefined || isIP(address) === 0 || port < 1 || port > 65_535)
    throw new Error(`expected a server such as 10.0.0.2:53, got ${JSON.stringify(text)}`);
  return { address, port };
}

/** Read anew each time, since resolv.conf changes when a machine changes its network. */
function systemServers(): readonly string[] {
  return new Resolver().getServers();
}

/**
 * A server that does not ask others points to them, in a reply that has no error and no records. Taken for "there is
 * nothing", it would empty the list. A true "nothing" comes with the SOA of the zone, or from its owner. (RFC 2308, 2.2)
 */
function isReferral(packet: DecodedPacket): boolean {
  const has = (type: string) => (packet.authorities ?? []).some((record) => record.type === type);
  return (packet.answers ?? []).length === 0 && !packet.flag_aa && has("NS") && !has("SOA");
}
