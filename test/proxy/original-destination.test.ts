import { endianness } from "node:os";
import { test } from "tap";
import { v6Text } from "../../proxy/transparent/original-destination.ts";

/** sockaddr_in6 of the kernel. */
function socketAddress(address: readonly number[], scope: number): Buffer {
  const bytes = Buffer.alloc(28);
  address.forEach((group, i) => void bytes.writeUInt16BE(group, 8 + 2 * i));
  if (endianness() === "LE") bytes.writeUInt32LE(scope, 24);
  else bytes.writeUInt32BE(scope, 24);
  return bytes;
}

const ADDRESS = { netmask: "", mac: "", internal: false, cidr: null };
const INTERFACES = () => ({
  eth0: [
    { ...ADDRESS, address: "192.0.2.1", family: "IPv4" as const },
    { ...ADDRESS, address: "fe80::2", family: "IPv6" as const, scopeid: 2 },
  ],
  eth1: [{ ...ADDRESS, address: "fe80::3", family: "IPv6" as const, scopeid: 3 }],
});

test("an IPv6 address is written as Node does, with the link that it counts on", async (t) => {
  for (const [address, scope, text] of [
    [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 7], 0, "2001:db8::1:0:0:7"],
    [[0, 0, 0, 0, 0, 0, 0, 1], 0, "::1"],
    [[0xfe80, 0, 0, 0, 0, 0, 0, 1], 3, "fe80::1%eth1"],
    [[0xfe80, 0, 0, 0, 0, 0, 0, 1], 2, "fe80::1%eth0"],
    [[0xfe80, 0, 0, 0, 0, 0, 0, 1], 9, "fe80::1%9"],
  ] as const)
    t.equal(v6Text(socketAddress(address, scope), INTERFACES), text);
});
