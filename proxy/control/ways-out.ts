/**
 * The ports on which this sidecar itself takes what is to go out. An endpoint that is one of them would send each request
 * round and round until its deadline, and a registry can name it by mistake or by malice: a service registered with the
 * port of the sidecar in place of its own. So such an endpoint is not used, wherever it comes from.
 *
 * The inbound port is none of them: a service that calls itself is odd, and no loop.
 */
import { networkInterfaces } from "node:os";
import type { Endpoint } from "../../core/index.ts";
import type { PlaneAddresses } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";

const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.|localhost$)/;
const EVERY = new Set(["0.0.0.0", "::"]);

export class WaysOut {
  readonly #ways = new Map<string, ListenAddress>();

  /** Listeners by their names, as they were opened. */
  opened(addresses: PlaneAddresses): void {
    for (const [name, at] of Object.entries(addresses)) if (name !== "inbound") this.#ways.set(name, at);
  }

  closed(name: string): void {
    this.#ways.delete(name);
  }

  /** Whether a call to this endpoint would come back. */
  leadsBack({ address, port }: Pick<Endpoint, "address" | "port">): boolean {
    for (const way of this.#ways.values()) if (way.port === port && isSame(address, way.host)) return true;
    return false;
  }
}

function isSame(address: string, listens: string): boolean {
  if (address === listens || EVERY.has(address)) return true;
  if (LOOPBACK.test(address)) return LOOPBACK.test(listens) || EVERY.has(listens);
  return EVERY.has(listens) && isOfThisMachine(address);
}

/** Whether one of this machine's interfaces has the address now. */
export function isOfThisMachine(address: string): boolean {
  return Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address));
}
