/**
 * The rules as scripts of a shell: what is run is what is printed, and can be read, kept or run elsewhere.
 */
import { iptablesDown, iptablesUp } from "./iptables.ts";
import { NFT_DOWN, nftUp } from "./nftables.ts";
import type { RedirectRules } from "./rules.ts";

/** The first that there is on a machine is used. */
export const BACKENDS = ["nft", "iptables"] as const;

export type Backend = (typeof BACKENDS)[number];

/** Puts the rules in place; run again, it replaces them. */
export function upScript(backend: Backend, rules: RedirectRules): string {
  return shell(backend === "nft" ? nft(nftUp(rules)) : iptablesUp(rules));
}

/** Leaves no rule behind; where there is none it does nothing. */
export function downScript(backend: Backend, ipv6: boolean): string {
  return shell(backend === "nft" ? nft(NFT_DOWN) : iptablesDown(ipv6));
}

function nft(rules: string): string {
  return `nft -f - <<'RULES'\n${rules}RULES\n`;
}

function shell(commands: string): string {
  return `set -eu\n${commands}`;
}
