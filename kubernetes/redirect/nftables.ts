/**
 * The rules for nftables: one table of our own for IPv4 and IPv6, put in its place as a whole or not at all.
 *
 * Preferred to iptables: it is one transaction, knows both families at once, and is taken away without a trace. The priority is that of
 * `dstnat`, as a number, since its name is not known for the hook `output` everywhere.
 */
import type { Cidrs, Ports, RedirectRules } from "./rules.ts";

const TABLE = "inet heddle";
const PRIORITY = -100;

/** Deletes it where it is, and fails nowhere: what is deleted is made first. */
export const NFT_DOWN: string = `add table ${TABLE}\ndelete table ${TABLE}\n`;

/** A script that does the same where there is a tool for it and such a table, and nothing elsewhere. */
export const NFT_REMOVAL: string = `if nft list table ${TABLE} >/dev/null 2>&1; then nft delete table ${TABLE}; fi\n`;

export function nftUp(rules: RedirectRules): string {
  return `${NFT_DOWN}table ${TABLE} {
  chain outbound {
    type nat hook output priority ${PRIORITY}; policy accept;
${lines(outbound(rules))}  }
  chain inbound {
    type nat hook prerouting priority ${PRIORITY}; policy accept;
${lines(inbound(rules))}  }
}
`;
}

function outbound({
  uids,
  gids,
  outbound: { only, not, onlyTo, notTo },
  outboundPort,
  ipv6,
}: RedirectRules): string[] {
  const redirect = `${tcp(only)} redirect to :${outboundPort}`;
  const destinations = onlyTo === undefined ? [redirect] : to(onlyTo).map((one) => `${one} ${redirect}`);
  return [
    ...tcpOnly(ipv6),
    ...(uids.length === 0 ? [] : [`meta skuid { ${uids.join(", ")} } return`]),
    ...(gids.length === 0 ? [] : [`meta skgid { ${gids.join(", ")} } return`]),
    // What the containers of a pod say to each other, by whatever address.
    'oifname "lo" return',
    "ip daddr 127.0.0.0/8 return",
    "ip6 daddr ::1 return",
    // Bound to its link, it could not be led to loopback.
    "ip6 daddr fe80::/10 return",
    ...(not.length === 0 ? [] : [`tcp dport ${set(not)} return`]),
    ...to(notTo).map((destination) => `${destination} return`),
    // A set of none would be a fault.
    ...(only?.length === 0 ? [] : destinations),
  ];
}

function inbound({ inbound: { only, not }, inboundPort, ipv6 }: RedirectRules): string[] {
  return [
    ...tcpOnly(ipv6),
    'iifname "lo" return',
    ...(not.length === 0 ? [] : [`tcp dport ${set(not)} return`]),
    ...(only?.length === 0 ? [] : [`${tcp(only)} redirect to :${inboundPort}`]),
  ];
}

function tcpOnly(ipv6: boolean): string[] {
  return ["meta l4proto != tcp return", ...(ipv6 ? [] : ["meta nfproto ipv6 return"])];
}

function tcp(only: readonly Ports[] | undefined): string {
  return only === undefined ? "meta l4proto tcp" : `tcp dport ${set(only)}`;
}

/** One by one: those that lie within each other are no set. */
function to({ v4, v6 }: Cidrs): string[] {
  return [...v4.map((cidr) => `ip daddr ${cidr}`), ...v6.map((cidr) => `ip6 daddr ${cidr}`)];
}

/** Those that lie within each other would be a fault, so they are written as the ranges that they come to. */
function set(ports: readonly Ports[]): string {
  const merged: [number, number][] = [];
  for (const [from, to] of [...ports].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return `{ ${merged.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(", ")} }`;
}

function lines(rules: readonly string[]): string {
  return rules.map((rule) => `    ${rule}\n`).join("");
}
