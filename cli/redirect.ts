/**
 * `heddle redirect`: the rules of the kernel by which an app's traffic reaches its sidecar without knowing of it.
 *
 * For an init container with the right NET_ADMIN, or for root on a machine. The sidecar itself needs no right: it runs as a user of
 * its own, by whom the rules tell its traffic from the app's.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { ConfigError } from "../config/index.ts";
import {
  BACKENDS,
  type Backend,
  downScript,
  RedirectFault,
  readRules,
  upScript,
} from "../kubernetes/index.ts";
import { type Arguments, UsageError } from "./command.ts";
import { readConfig } from "./read-config.ts";

/** Where administrators' tools are, whatever PATH says. */
const FOLDERS = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
const ACTS = ["up", "down", "print"];
/** Of the admin port, unless a file says otherwise. */
const ADMIN_PORT = 15_000;

export async function redirect({ options, words: [act] }: Arguments): Promise<number> {
  if (!ACTS.includes(act!)) throw new UsageError(`expected up, down or print, got ${JSON.stringify(act)}`);
  const asked = backendOf(options["with"]);
  try {
    if (act === "down") {
      const backends = asked === undefined ? BACKENDS.filter(isThere) : [asked];
      if (backends.length === 0) throw new RedirectFault(NO_TOOLS);
      // All of them, though one may fail: what the others have set is to go all the same.
      const failures = backends.flatMap(
        (backend) => failureOf(downScript(backend, isThere("ip6tables"))) ?? [],
      );
      if (failures.length > 0) throw new RedirectFault(failures.join("\n"));
      return 0;
    }
    const script = upScript(asked ?? usual(act!), await rulesOf(options));
    if (act === "print") process.stdout.write(script);
    else {
      const failure = failureOf(script);
      if (failure !== undefined) throw new RedirectFault(failure);
    }
    return 0;
  } catch (thrown) {
    if (!(thrown instanceof RedirectFault) && !(thrown instanceof ConfigError)) throw thrown;
    process.stderr.write(`heddle: ${thrown.message}\n`);
    return 1;
  }
}

function backendOf(asked: string | boolean | undefined): Backend | undefined {
  if (asked === undefined) return undefined;
  const backend = BACKENDS.find((one) => one === asked);
  if (backend === undefined) throw new UsageError(`--with: expected ${BACKENDS.join(" or ")}, got ${asked}`);
  return backend;
}

const NO_TOOLS =
  "neither nft nor iptables is on this machine; Debian and Alpine have them in packages nftables and iptables";

function usual(act: string): Backend {
  const found = BACKENDS.find(isThere);
  // To be read on another machine than the one that it is for.
  if (found === undefined && act === "print") return BACKENDS[0];
  if (found === undefined) throw new RedirectFault(NO_TOOLS);
  return found;
}

function isThere(tool: string): boolean {
  return FOLDERS.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

async function rulesOf(options: Arguments["options"]) {
  const text = (name: string) => options[name] as string | undefined;
  const file = text("config");
  const config = file === undefined ? undefined : await readConfig(file);
  const portOf = (listen: { readonly port: number } | undefined) => listen && String(listen.port);
  return readRules(
    {
      outboundPort: text("outbound-port") ?? portOf(config?.outbound.listener.listen),
      inboundPort: text("inbound-port") ?? portOf(config?.inbound.listener.listen),
      uid: text("uid"),
      gid: text("gid"),
      excludeUids: text("exclude-uids"),
      includeInboundPorts: text("include-inbound-ports"),
      excludeInboundPorts: text("exclude-inbound-ports"),
      includeOutboundPorts: text("include-outbound-ports"),
      excludeOutboundPorts: text("exclude-outbound-ports"),
      includeCidrs: text("include-outbound-cidrs"),
      excludeCidrs: text("exclude-outbound-cidrs"),
      ipv4Only: options["ipv4-only"] === true,
    },
    [
      config?.admin.listen.port ?? ADMIN_PORT,
      ...(config?.health === undefined ? [] : [config.health.listen.port]),
    ].filter((port) => port !== 0),
  );
}

/** Runs it. @returns what went wrong, if anything did */
function failureOf(script: string): string | undefined {
  const { status, stderr, error } = spawnSync("/bin/sh", [], {
    input: script,
    encoding: "utf8",
    env: { ...process.env, PATH: FOLDERS.join(delimiter) },
  });
  if (status === 0) return undefined;
  const said = (error?.message ?? stderr).trim();
  return /not permitted|permission denied|must be root/i.test(said)
    ? `redirecting needs the right NET_ADMIN: run it as root, or in an init container that has it\n${said}`
    : `the rules could not be set\n${said}`;
}
