/**
 * The same rules for iptables, where there is no nftables: chains of our own in the table `nat`, put in their place in one step together with
 * what jumps there, so that traffic meets all of the rules or none.
 *
 * `-w` waits for whoever else holds the lock. Another run fills the chains anew and finds its jumps there.
 *
 * Each family is a step of its own, so one may fail when the other is done. What there was is read before anything is touched, and put
 * back where the script does not come to its end: with half of the rules one family would go around the mesh without a word.
 */
import type { Ports, RedirectRules } from "./rules.ts";

const OUTBOUND = "HEDDLE_OUTBOUND";
const INBOUND = "HEDDLE_INBOUND";
const JUMPS = [
  ["OUTPUT", OUTBOUND],
  ["PREROUTING", INBOUND],
] as const;

type Family = "iptables" | "ip6tables";

/** @param last what is still to be done, without which the rules are not to stay */
export function iptablesUp(rules: RedirectRules, last: string): string {
  const all = families(rules.ipv6);
  return [
    ...all.map((family) => `${family}_was=$(${family}-save -t nat)\n${family}_done=\n`),
    `undo() {\ntrap - EXIT\n${all.map(undo).join("")}}\ntrap undo EXIT\n`,
    ...all.map((family) => up(family, rules)),
    last,
    "trap - EXIT\n",
    // An earlier run may have redirected IPv6.
    ...(rules.ipv6 ? [] : [removal("ip6tables")]),
  ].join("");
}

/** Takes away what there is, if anything; where there is no tool for it, there is nothing. */
export const IPTABLES_REMOVAL: string = families(true).map(removal).join("");

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
  const jumps = JUMPS.map(
    ([from, to]) => `${had(family, `-A ${from} -p tcp -j ${to}$`)} || echo '-A ${from} -p tcp -j ${to}'\n`,
  );
  return `{ cat <<'RULES'
*nat
${chains.join("\n")}
RULES
${jumps.join("")}echo COMMIT
} | ${family}-restore -w --noflush
${family}_done=yes
`;
}

/** Whether the family had a line before. */
function had(family: Family, line: string): string {
  return `printf '%s\\n' "$${family}_was" | grep -q -e '^${line}'`;
}

/** The chains and jumps as they were, in one step. */
function undo(family: Family): string {
  const chains = JUMPS.flatMap(([, to]) => [
    `echo ':${to} - [0:0]'`,
    `printf '%s\\n' "$${family}_was" | grep -e '^-A ${to} ' || :`,
  ]);
  const jumps = JUMPS.map(
    ([from, to]) => `${had(family, `-A ${from} -p tcp -j ${to}$`)} || echo '-D ${from} -p tcp -j ${to}'`,
  );
  const gone = JUMPS.map(([, to]) => `${had(family, `:${to} `)} || echo '-X ${to}'`);
  return `if [ -n "$${family}_done" ]; then {
echo '*nat'
${[...chains, ...jumps, ...gone].join("\n")}
echo COMMIT
} | ${family}-restore -w --noflush || :; fi
`;
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
  // What goes by link-local IPv6 is bound to its link, and could not be led to loopback.
  const own = family === "iptables" ? ["127.0.0.0/8"] : ["::1/128", "fe80::/10"];
  const destinations = onlyTo === undefined ? [""] : onlyTo[of].map((cidr) => `-d ${cidr} `);
  return [
    ...uids.map((uid) => `-m owner --uid-owner ${uid} -j RETURN`),
    ...gids.map((gid) => `-m owner --gid-owner ${gid} -j RETURN`),
    "-o lo -j RETURN",
    ...own.map((cidr) => `-d ${cidr} -j RETURN`),
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
