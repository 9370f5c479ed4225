/**
 * The values that annotations have, each from its text, or undefined where the text is something else.
 *
 * An annotation is always a text, so what a number, a list or an address is has to be said once and for all. Spaces around a value
 * and around the entries of a list count for nothing.
 */
import { isIP } from "node:net";

/** How a value is read, and what is expected where it cannot be. */
export interface Kind<T> {
  readonly expected: string;
  readonly read: (text: string) => T | undefined;
}

export function oneOf<const T extends string>(...words: readonly T[]): Kind<T> {
  return {
    expected: words.join(" or "),
    read: (text) => words.find((word) => word === text),
  };
}

/** `true` and `false` as Consul's annotations have them. */
export const truth: Kind<boolean> = {
  expected: "true or false",
  read: (text) => {
    if (/^(?:true|t|1)$/i.test(text)) return true;
    return /^(?:false|f|0)$/i.test(text) ? false : undefined;
  },
};

function matching(expected: string, pattern: RegExp): Kind<string> {
  return { expected, read: (text) => (pattern.test(text) ? text : undefined) };
}

const NAME = /^[a-z0-9][a-z0-9_.-]*$/;
export const serviceName = matching(
  "a name such as orders: lower-case letters, digits, '-', '_' and '.', the first a letter or a digit",
  NAME,
);
export const image = matching("an image such as registry.example/heddle:1.0", /^[a-z0-9][\w.:/@-]*$/i);
export const duration = matching("a duration such as 25s", /^\d+(?:\.\d+)?(?:ms|s|m|h)$/);
/** The part of Kubernetes' quantities that is used for processors and memory. */
export const quantity = matching(
  "a quantity such as 100m, 0.5, 128Mi or 1Gi",
  /^\d+(?:\.\d+)?(?:m|k|M|G|T|Ki|Mi|Gi|Ti)?$/,
);
export const httpAddress = matching(
  "an address such as http://consul.consul:8500",
  /^(?:https?:\/\/\S+|unix:\/\/\/\S+)$/,
);

const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

export interface ConfigMapKey {
  readonly configMap: string;
  readonly key: string;
}

export const configMapKey: Kind<ConfigMapKey> = {
  expected: "the name of a ConfigMap, perhaps with a key as in heddle/heddle.yaml",
  read: (text) => {
    const [configMap = "", key = "heddle.yaml", ...rest] = text.split("/");
    return DNS_LABEL.test(configMap) && /^[\w.-]+$/.test(key) && rest.length === 0
      ? { configMap, key }
      : undefined;
  },
};

export const port: Kind<number> = {
  expected: "a port from 1 to 65535",
  read: portOf,
};

function portOf(text: string): number | undefined {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return number >= 1 && number <= 65_535 ? number : undefined;
}

/** The name of a port is at most 15 characters long and has a letter. */
export const portOrName: Kind<number | string> = {
  expected: "a port from 1 to 65535, or the name of a port of a container",
  read: (text) =>
    portOf(text) ?? (/^(?=.*[a-z])[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?$/.test(text) ? text : undefined),
};

/** User ids begin at 1, since 0 is root. */
export const userId: Kind<number> = {
  expected: "a user id from 1 to 2147483647",
  read: (text) => {
    const id = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    return id >= 1 && id <= 2_147_483_647 ? id : undefined;
  },
};

function listOf<T>(expected: string, read: (text: string) => T | undefined): Kind<readonly T[]> {
  return {
    expected,
    read: (text) => {
      const entries = entriesOf(text).map(read);
      return entries.includes(undefined) ? undefined : (entries as T[]);
    },
  };
}

/** The entries between commas; an empty text has none. */
export function entriesOf(text: string): string[] {
  const entries = text.split(",").map((entry) => entry.trim());
  return entries.length === 1 && entries[0] === "" ? [] : entries;
}

export const ports = listOf("ports between commas, such as 9090,9091", portOf);
export const userIds = listOf("user ids between commas, such as 1000,1001", userId.read);
export const cidrs = listOf("networks between commas, such as 10.0.0.0/8,192.168.1.1/32", (text) => {
  const [address = "", bits, ...rest] = text.split("/");
  const version = isIP(address);
  const most = version === 6 ? 128 : 32;
  const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
  return version !== 0 && fits && rest.length === 0 ? text : undefined;
});
export const words = listOf("texts between commas", (text) => (text === "" ? undefined : text));

export const pairs: Kind<Readonly<Record<string, string>>> = {
  expected: "pairs between commas, such as version=v2,zone=a",
  read: (text) => {
    const entries = entriesOf(text).map((entry) => /^([^=\s]+)=(.*)$/.exec(entry));
    if (entries.includes(null)) return undefined;
    return Object.fromEntries(entries.map((match) => [match![1]!, match![2]!]));
  },
};

/** An upstream that is asked for. */
export interface WantedUpstream {
  readonly name: string;
  /** The port on loopback that leads to it, besides the outbound port. */
  readonly localPort?: number;
  readonly namespace?: string;
  readonly datacenter?: string;
  /** A prepared query of Consul, in place of a service. */
  readonly query?: string;
}

export const upstreams: Kind<readonly WantedUpstream[]> = {
  expected:
    "upstreams between commas, each a name or a name and a port on loopback, such as orders:9190,search",
  read: (text) => {
    const wanted = entriesOf(text).map((entry): WantedUpstream | undefined => {
      const [name = "", number, ...rest] = entry.split(":");
      if (!NAME.test(name) || rest.length > 0) return undefined;
      if (number === undefined) return { name };
      const localPort = portOf(number);
      return localPort === undefined ? undefined : { name, localPort };
    });
    if (wanted.includes(undefined)) return undefined;
    const all = wanted as WantedUpstream[];
    return new Set(all.map(({ name }) => name)).size === all.length ? all : undefined;
  },
};
