/**
 * How a Consul agent is reached, from the settings and from the CONSUL_* variables that operators have set already for
 * every other tool of Consul's. What the settings say wins.
 */
import type { ConsulTls } from "./tls.ts";

export interface ConsulOptions {
  /** `http://host:port`, `https://host:port` or `unix:///path`. */
  readonly address: string;
  readonly token?: string | undefined;
  /** Read again when it changes; used when there is no `token`. */
  readonly tokenFile?: string | undefined;
  /** `user:password` for an agent behind a proxy that asks for them. */
  readonly basicAuth?: string | undefined;
  readonly datacenter?: string | undefined;
  readonly namespace?: string | undefined;
  readonly partition?: string | undefined;
  readonly tls: ConsulTls;
  /** How long a blocking query may block. */
  readonly waitMs: number;
  /** Asks that often instead of blocking; undefined to block. */
  readonly pollMs?: number | undefined;
}

/** The settings of `discovery.consul` that the environment may fill in. */
export type ConsulSettings = Omit<ConsulOptions, "address"> & { readonly address?: string | undefined };

/** A variable that cannot be used. */
export interface EnvironmentFault {
  /** The setting that it stands for. */
  readonly setting: string;
  readonly message: string;
}

const DEFAULT_ADDRESS = "http://127.0.0.1:8500";
const ADDRESS = /^(?:(?:https?:\/\/)?[^/?#@\s]+\/?|unix:\/\/\/\S+)$/;

/** Whether this is an address that an agent can have. */
export function isConsulAddress(given: string): boolean {
  if (!ADDRESS.test(given)) return false;
  return given.startsWith("unix://") || URL.canParse(withScheme(given, false));
}

const TOKEN = /^[\x21-\x7e]*$/;

/** Whether a request can carry it as a token: one with the line end of its file cannot be sent. */
export function isConsulToken(given: string): boolean {
  return TOKEN.test(given);
}

/** A text as it may be shown: in an address that is refused because of them there may be a password or a token. */
export function withoutSecrets(text: string): string {
  return text.replace(/^(\w+:\/\/).*@|^.*:.*@/s, "$1...@").replace(/(:\/\/[^?]*\?).+$/s, "$1...");
}

/**
 * The options with what the environment adds.
 * @returns also every variable that cannot be understood; those are left out
 */
export function withEnvironment(
  given: ConsulSettings,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly options: ConsulOptions; readonly faults: readonly EnvironmentFault[] } {
  const faults: EnvironmentFault[] = [];
  const read = (name: string): string | undefined => environment[name] || undefined;
  const flag = (name: string, setting: string): boolean | undefined => {
    const value = read(name);
    if (value === undefined) return undefined;
    if (/^(?:1|t|true)$/i.test(value)) return true;
    if (/^(?:0|f|false)$/i.test(value)) return false;
    faults.push({
      setting,
      message: `expected the variable ${name} to be true or false, got ${JSON.stringify(value)}`,
    });
    return undefined;
  };
  const ssl = flag("CONSUL_HTTP_SSL", "address") ?? false;
  let address = given.address ?? read("CONSUL_HTTP_ADDR") ?? DEFAULT_ADDRESS;
  if (!isConsulAddress(address)) {
    faults.push({
      setting: "address",
      message: `expected the variable CONSUL_HTTP_ADDR to be an address such as 127.0.0.1:8500, https://consul:8501 or unix:///run/consul.sock, got ${JSON.stringify(withoutSecrets(address))}`,
    });
    address = DEFAULT_ADDRESS;
  }
  const { tls } = given;
  const verify = flag("CONSUL_HTTP_SSL_VERIFY", "tls");
  // Of the two variables the file counts, as it does for Consul's own tools.
  const tokenFile =
    given.tokenFile ?? (given.token === undefined ? read("CONSUL_HTTP_TOKEN_FILE") : undefined);
  const token = given.token ?? (tokenFile === undefined ? read("CONSUL_HTTP_TOKEN") : undefined);
  if (token !== undefined && !isConsulToken(token))
    faults.push({
      setting: "token",
      // Which ones they are is not said, as it is a secret.
      message:
        "expected the variable CONSUL_HTTP_TOKEN to be a token without spaces or line ends, got others",
    });
  return {
    options: {
      ...given,
      // A scheme in the setting is meant; the variable only fills in a missing one.
      address: withScheme(address, given.address === undefined && ssl),
      token,
      tokenFile,
      basicAuth: given.basicAuth ?? read("CONSUL_HTTP_AUTH"),
      namespace: given.namespace ?? read("CONSUL_NAMESPACE"),
      partition: given.partition ?? read("CONSUL_PARTITION"),
      tls: {
        caFile: tls.caFile ?? read("CONSUL_CACERT"),
        caDirectory: tls.caDirectory ?? read("CONSUL_CAPATH"),
        certFile: tls.certFile ?? read("CONSUL_CLIENT_CERT"),
        keyFile: tls.keyFile ?? read("CONSUL_CLIENT_KEY"),
        serverName: tls.serverName ?? read("CONSUL_TLS_SERVER_NAME"),
        verify: tls.verify ?? verify,
      },
    },
    faults,
  };
}

function withScheme(address: string, ssl: boolean): string {
  if (address.startsWith("unix://")) return address;
  const scheme = /^https?:\/\//.test(address) ? "" : ssl ? "https://" : "http://";
  // CONSUL_HTTP_SSL turns an http:// of the variable into https://, as Consul's own tools do.
  const full = `${scheme}${address}`;
  return (ssl ? full.replace(/^http:/, "https:") : full).replace(/\/$/, "");
}
