/**
 * Which traffic of a pod, or of a machine, is redirected to its sidecar: read from words, and believed afterwards.
 *
 * Everything here becomes a part of a script that root runs, so nothing gets in that is not a number, a range of numbers or an
 * address with its length; what is written out is made from those and not from the words.
 */
import { isIPv4, isIPv6 } from "node:net";

/** A port, or a range with both of its ends. */
export type Ports = readonly [from: number, to: number];

export interface Cidrs {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

export interface RedirectRules {
  /** Where the sidecar takes what the app sends. */
  readonly outboundPort: number;
  /** Where it takes what comes for the app. */
  readonly inboundPort: number;
  /** Whose traffic is let through: the sidecar's own, which would come back to it for ever, and that of others. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly outbound: PortRules & {
    /** Undefined for every destination. */
    readonly onlyTo: Cidrs | undefined;
    readonly notTo: Cidrs;
  };
  readonly inbound: PortRules;
  /** Whether IPv6 is redirected as well. */
  readonly ipv6: boolean;
}

export interface PortRules {
  /** Undefined for all. */
  readonly only: readonly Ports[] | undefined;
  readonly not: readonly Ports[];
}

/** As the command line has it: lists are separated by commas. */
export interface GivenRules {
  readonly outboundPort?: string | undefined;
  readonly inboundPort?: string | undefined;
  readonly uid?: string | undefined;
  readonly gid?: string | undefined;
  readonly excludeUids?: string | undefined;
  readonly includeInboundPorts?: string | undefined;
  readonly excludeInboundPorts?: string | undefined;
  readonly includeOutboundPorts?: string | undefined;
  readonly excludeOutboundPorts?: string | undefined;
  readonly includeCidrs?: string | undefined;
  readonly excludeCidrs?: string | undefined;
  readonly ipv4Only?: boolean | undefined;
}

/** What was given is not what it should be. */
export class RedirectFault extends Error {}

/** The user that other meshes run their sidecars as. */
const USUAL_UID = "1337";
const OUTBOUND_PORT = "15001";
const INBOUND_PORT = "15006";
/** 4294967295 stands for nobody at all. */
const MOST_ID = 4_294_967_294;
const MOST_PORT = 65_535;

/**
 * @param ownPorts of the sidecar, such as that of its admin port, that whoever calls them means
 * @throws RedirectFault
 */
export function readRules(given: GivenRules, ownPorts: readonly number[] = []): RedirectRules {
  const { uid = USUAL_UID, outboundPort = OUTBOUND_PORT, inboundPort = INBOUND_PORT } = given;
  const only = (words: string | undefined, name: string) =>
    words === undefined ? undefined : ports(words, name);
  return {
    outboundPort: port(outboundPort, "--outbound-port"),
    inboundPort: port(inboundPort, "--inbound-port"),
    uids: unique([...sidecars(uid), ...ids(given.excludeUids, "--exclude-uids")]),
    gids: ids(given.gid, "--gid"),
    outbound: {
      only: only(given.includeOutboundPorts, "--include-outbound-ports"),
      not: ports(given.excludeOutboundPorts, "--exclude-outbound-ports"),
      onlyTo:
        given.includeCidrs === undefined ? undefined : cidrs(given.includeCidrs, "--include-outbound-cidrs"),
      notTo: cidrs(given.excludeCidrs, "--exclude-outbound-cidrs"),
    },
    inbound: {
      only: only(given.includeInboundPorts, "--include-inbound-ports"),
      not: [
        ...unique([port(inboundPort, "--inbound-port"), ...ownPorts]).map((own): Ports => [own, own]),
        ...ports(given.excludeInboundPorts, "--exclude-inbound-ports"),
      ],
    },
    ipv6: given.ipv4Only !== true,
  };
}

function unique(values: readonly number[]): number[] {
  return [...new Set(values)];
}

function parts(words: string | undefined): string[] {
  return (words ?? "").split(",").flatMap((word) => (word.trim() === "" ? [] : [word.trim()]));
}

function whole(word: string, least: number, most: number): number | undefined {
  if (!/^\d{1,10}$/.test(word)) return undefined;
  const value = Number(word);
  return value >= least && value <= most ? value : undefined;
}

function fault(name: string, expected: string, word: string): RedirectFault {
  return new RedirectFault(`${name}: expected ${expected}, got ${JSON.stringify(word)}`);
}

function port(word: string, name: string): number {
  const value = whole(word, 1, MOST_PORT);
  if (value === undefined) throw fault(name, "a port from 1 to 65535", word);
  return value;
}

function ids(words: string | undefined, name: string): number[] {
  return parts(words).map((word) => {
    const id = whole(word, 0, MOST_ID);
    if (id === undefined) throw fault(name, "the number of a user or group", word);
    return id;
  });
}

/** Not none: the sidecar's own traffic would come back to it for ever. */
function sidecars(words: string): number[] {
  const own = ids(words, "--uid");
  if (own.length === 0) throw fault("--uid", "the number of the user that the sidecar runs as", words);
  return own;
}

function ports(words: string | undefined, name: string): Ports[] {
  return parts(words).map((word) => {
    const [first = "", last = first, ...rest] = word.split("-");
    const from = whole(first, 1, MOST_PORT);
    const to = whole(last, 1, MOST_PORT);
    if (from === undefined || to === undefined || from > to || rest.length > 0)
      throw fault(name, "ports such as 22 or 8000-8100", word);
    return [from, to];
  });
}

function cidrs(words: string | undefined, name: string): Cidrs {
  const v4: string[] = [];
  const v6: string[] = [];
  for (const word of parts(words)) {
    const [address = "", length, ...rest] = word.split("/");
    const is4 = isIPv4(address);
    // A zone is of an interface, and no rule can name it.
    const is6 = isIPv6(address) && !address.includes("%");
    const bits = whole(length ?? (is4 ? "32" : "128"), 0, is4 ? 32 : 128);
    if ((!is4 && !is6) || bits === undefined || rest.length > 0)
      throw fault(name, "addresses such as 10.0.0.0/8 or fd00::/8", word);
    (is4 ? v4 : v6).push(`${address}/${bits}`);
  }
  return { v4, v6 };
}
