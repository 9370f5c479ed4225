/**
 * TLS towards the agent: whom to believe, and what to show. Files are read when the client is made, so that one that
 * is missing is said with its name.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export interface ConsulTls {
  readonly caFile?: string | undefined;
  /** Every file in it is a certificate authority. */
  readonly caDirectory?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** The name that the agent's certificate must have, if not that of its address. */
  readonly serverName?: string | undefined;
  /** False believes any agent. */
  readonly verify?: boolean | undefined;
}

/** For node:https. */
export interface TlsMaterial {
  readonly ca?: readonly Buffer[];
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized: boolean;
}

/** @throws Error that names the file which cannot be read */
export function readTls(tls: ConsulTls): TlsMaterial {
  const ca = [
    ...(tls.caFile === undefined ? [] : [read(tls.caFile)]),
    ...(tls.caDirectory === undefined ? [] : readDirectory(tls.caDirectory)),
  ];
  return {
    ...(ca.length === 0 ? {} : { ca }),
    ...(tls.certFile === undefined ? {} : { cert: read(tls.certFile) }),
    ...(tls.keyFile === undefined ? {} : { key: read(tls.keyFile) }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    rejectUnauthorized: tls.verify ?? true,
  };
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (thrown) {
    throw new Error(`expected a readable file at ${file}, got ${(thrown as Error).message}`);
  }
}

function readDirectory(directory: string): Buffer[] {
  // Not by the kind of the entry: where Kubernetes mounts a Secret, one is a link to a directory.
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true)
    .map(read);
}
