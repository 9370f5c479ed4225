/**
 * Where a connection was going before the kernel redirected it: SO_ORIGINAL_DST, which Node has no word for.
 *
 * Loaded only where connections are redirected. A connection that was not redirected has no entry, and was going where it came.
 */
import type { Socket } from "node:net";
import { endianness, networkInterfaces } from "node:os";
import { plainAddress } from "../downstream/index.ts";
import { descriptorOf, type GetSockOpt, loadGetsockopt } from "../getsockopt.ts";

export interface Address {
  readonly address: string;
  readonly port: number;
}

type Interfaces = ReturnType<typeof networkInterfaces>;

// linux/in.h, linux/in6.h and linux/netfilter_ipv4.h: the option has the same number for both families.
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;

/**
 * Makes the function that asks.
 * @throws Error with what is missing here
 */
export function originalDestinations(): (socket: Socket) => Address {
  const getsockopt = askable();
  // Calls do not overlap.
  const bytes = Buffer.alloc(SOCKADDR_IN6_BYTES);
  const length = Buffer.alloc(4);
  return (socket) => {
    const { localAddress = "", localPort = 0 } = socket;
    const plain = plainAddress(localAddress);
    const isV6 = plain.includes(":");
    const fd = descriptorOf(socket);
    length.writeInt32LE(isV6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES);
    if (fd < 0 || getsockopt(fd, isV6 ? SOL_IPV6 : SOL_IP, SO_ORIGINAL_DST, bytes, length) !== 0)
      return { address: plain, port: localPort };
    return { address: isV6 ? v6Text(bytes) : bytes.subarray(4, 8).join("."), port: bytes.readUInt16BE(2) };
  };
}

function askable(): GetSockOpt {
  if (process.platform !== "linux") throw new Error("mode transparent needs Linux, whose kernel redirects");
  try {
    return loadGetsockopt();
  } catch (thrown) {
    throw new Error(
      `mode transparent needs node:ffi, which Node has from 26 on, without --no-experimental-ffi: ${(thrown as Error).message}`,
    );
  }
}

/**
 * In the usual form, as Node writes addresses: the longest run of zeros is left out, and one that counts on one link only says on
 * which. Without that it would be looked for on another link.
 * @param bytes sockaddr_in6
 */
export function v6Text(bytes: Buffer, interfaces: () => Interfaces = networkInterfaces): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(8 + 2 * i).toString(16));
  const text = new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
  const scope = endianness() === "LE" ? bytes.readUInt32LE(24) : bytes.readUInt32BE(24);
  if (scope === 0) return text;
  const [link] = Object.entries(interfaces()).find(([, own = []]) =>
    own.some((address) => "scopeid" in address && address.scopeid === scope),
  ) ?? [scope];
  return `${text}%${link}`;
}
