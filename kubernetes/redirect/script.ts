/**
 * The rules as scripts of a shell: what is run is what is printed, and can be read, kept or run elsewhere.
 */
import { IPTABLES_REMOVAL, iptablesDown, iptablesUp } from "./iptables.ts";
import { NFT_DOWN, NFT_REMOVAL, nftUp } from "./nftables.ts";
import type { RedirectRules } from "./rules.ts";

/** The first that there is on a machine is used. */
export const BACKENDS = ["nft", "iptables"] as const;

export type Backend = (typeof BACKENDS)[number];

/**
 * Puts the rules in place; run again, it replaces them, also those that the other tool has set: both would be in force, and who changes or removes
 * the new ones would wonder at the old. The new ones come first, so that there is no moment without any. Where it fails, what was there before is there still.
 */
export function upScript(backend: Backend, rules: RedirectRules): string {
  return shell(backend === "nft" ? nft(nftUp(rules)) + IPTABLES_REMOVAL : iptablesUp(rules, NFT_REMOVAL));
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
