/**
 * The same rules for iptables, where there is no nftables: chains of our own in the table `nat`, filled in one step each before
 * anything jumps there, so that traffic meets all of the rules or none.
 *
 * `-w` waits for whoever else holds the lock. Another run fills the chains anew and finds its jumps there.
 */
import type { Ports, RedirectRules } from "./rules.ts";

const OUTBOUND = "HEDDLE_OUTBOUND";
const INBOUND = "HEDDLE_INBOUND";
const JUMPS = [
  ["OUTPUT", OUTBOUND],
  ["PREROUTING", INBOUND],
] as const;

type Family = "iptables" | "ip6tables";

export function iptablesUp(rules: RedirectRules): string {
  return (
    families(rules.ipv6)
      .map((family) => up(family, rules))
      // An earlier run may have redirected IPv6. Where there is no tool for it, there is nothing to take away.
      .concat(rules.ipv6 ? [] : [removal("ip6tables")])
      .join("")
  );
}

/** @param ipv6 whether there is a tool for IPv6 at all */
export function iptablesDown(ipv6: boolean): string {
  return families(ipv6).map(down).join("");
}

function families(ipv6: boolean): readonly Family[] {
  return ipv6 ? ["iptables", "ip6tables"] : ["iptables"];
}

function up(family: Family, rules: RedirectRules): string {
  const chains = [
    `:${OUTBOUND} - [0:0]`,
    `:${INBOUND} - [0:0]`,
    ...outbound(family, rules).map((rule) => `-A ${OUTBOUND} ${rule}`),
    ...inbound(rules).map((rule) => `-A ${INBOUND} ${rule}`),
  ];
  const jumps = JUMPS.map(([from, to]) => {
    const rule = `${from} -p tcp -j ${to}`;
    return `${family} -w -t nat -C ${rule} 2>/dev/null || ${family} -w -t nat -A ${rule}\n`;
  });
  return `${family}-restore -w --noflush <<'RULES'\n*nat\n${chains.join("\n")}\nCOMMIT\nRULES\n${jumps.join("")}`;
}

function down(family: Family): string {
  // Without the right to, all of the others would fail in silence.
  return `${family} -w -t nat -S >/dev/null\n${removal(family)}`;
}

function removal(family: Family): string {
  const quiet = (words: string) => `${family} -w -t nat ${words} 2>/dev/null`;
  return JUMPS.map(
    ([from, to]) =>
      `while ${quiet(`-D ${from} -p tcp -j ${to}`)}; do :; done\n${quiet(`-F ${to}`)} || :\n${quiet(`-X ${to}`)} || :\n`,
  ).join("");
}

function outbound(family: Family, { uids, gids, outbound: rules, outboundPort }: RedirectRules): string[] {
  const { only, not, onlyTo, notTo } = rules;
  const of = family === "iptables" ? "v4" : "v6";
  const own = family === "iptables" ? "127.0.0.0/8" : "::1/128";
  const destinations = onlyTo === undefined ? [""] : onlyTo[of].map((cidr) => `-d ${cidr} `);
  return [
    ...uids.map((uid) => `-m owner --uid-owner ${uid} -j RETURN`),
    ...gids.map((gid) => `-m owner --gid-owner ${gid} -j RETURN`),
    "-o lo -j RETURN",
    `-d ${own} -j RETURN`,
    ...not.map((ports) => `${tcp(ports)} -j RETURN`),
    ...notTo[of].map((cidr) => `-d ${cidr} -j RETURN`),
    ...destinations.flatMap((to) =>
      matches(only).map((match) => `${to}${match} -j REDIRECT --to-ports ${outboundPort}`),
    ),
  ];
}

function inbound({ inbound: { only, not }, inboundPort }: RedirectRules): string[] {
  return [
    "-i lo -j RETURN",
    ...not.map((ports) => `${tcp(ports)} -j RETURN`),
    ...matches(only).map((match) => `${match} -j REDIRECT --to-ports ${inboundPort}`),
  ];
}

function matches(only: readonly Ports[] | undefined): string[] {
  return only === undefined ? ["-p tcp"] : only.map(tcp);
}

function tcp([from, to]: Ports): string {
  return `-p tcp --dport ${from === to ? from : `${from}:${to}`}`;
}
