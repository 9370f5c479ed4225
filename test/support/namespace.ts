/**
 * A network of its own behind a router, for tests that cut the route to something without touching it: a process in
 * there keeps running, and what is sent to it or by it is lost on the way.
 *
 * The cut is made on a router between, and not on this machine's side of one pair of interfaces: a route that is
 * missing here is an error of the sender's own kernel, which fails at once what should hang. Real networks drop what
 * others have sent, and the sender hears nothing (`blackhole`) or an ICMP answer of somebody else (`unreachable`).
 *
 *     this machine  host .1 ── .2  router namespace  .5 ── .6  inner namespace, where `run` runs
 *
 * Addresses are from 198.18.0.0/15, which is set aside for tests of networks (RFC 2544), so that they are no one's.
 * Needs root and iproute2.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { Teardown } from "./apps.ts";

const execute = promisify(execFile);

/** `ip`; where only root has use of it, it is not on everybody's path. */
const IP: string | undefined = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"]
  .map((folder) => join(folder, "ip"))
  .find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** Why there can be no namespaces here; undefined when there can. */
function hindrance(): string | undefined {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  if (IP === undefined) return "there is no `ip` here; Debian has it in the package iproute2";
  const name = `heddle-${process.pid}-try`;
  const tries = [
    ["netns", "add", name],
    ["-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other"],
  ];
  try {
    for (const args of tries) {
      const { status, stderr } = spawnSync(IP, args, { encoding: "utf8" });
      if (status !== 0) return `no network namespace can be made here: ${stderr.trim()}`;
    }
    return undefined;
  } finally {
    spawnSync(IP, ["netns", "del", name]);
  }
}

const HINDRANCE = hindrance();

/**
 * For the `skip` of tests that need a namespace: false, or why they cannot run. Where CI is set and it is root's, a missing
 * `ip` is no reason, and they fail instead; a kernel that does not let anybody have one is.
 */
export const withoutNamespaces: false | string =
  HINDRANCE !== undefined && !(IP === undefined && process.env["CI"] === "true" && process.getuid?.() === 0)
    ? HINDRANCE
    : false;

export interface Cut {
  /**
   * What becomes of a packet: `blackhole` loses it in silence, so that all that is under way and all that is new
   * hangs; `unreachable` tells its sender so, which fails a new connection with EHOSTUNREACH, while an established
   * one takes it for a passing trouble and hangs too.
   */
  readonly how?: "blackhole" | "unreachable";
}

/** Blocks of eight addresses in 198.18.0.0/15. */
const BLOCKS = 1 << 14;

/** What is not torn down yet; the process may end before its tests do. */
const standing = new Set<Namespace>();
process.on("exit", () => {
  for (const namespace of standing) namespace.removeAtOnce();
});

export class Namespace {
  readonly name: string;
  /** Of the inside, as this machine calls it. */
  readonly address: string;
  /** Of this machine, as the inside calls it. */
  readonly hostAddress: string;
  /** The namespace between, which is a neighbour of the inside. */
  readonly router: string;
  readonly #link: string;
  readonly #block: readonly [number, number, number, number];
  #isCut = false;

  constructor(block: number, pid = process.pid) {
    this.name = `heddle-${pid}-${block}`;
    this.router = `${this.name}-router`;
    this.#link = `heddle-${block}`;
    this.#block = [198, 18 + (block >> 13), (block >> 5) & 255, (block & 31) << 3];
    this.address = this.#at(6);
    this.hostAddress = this.#at(1);
  }

  /** Makes the link, or resolves to false when the block is taken, here or by another process: the kernel says so. */
  async claim(): Promise<boolean> {
    try {
      await ip(`netns add ${this.router}`);
      standing.add(this);
      await ip(`link add ${this.#link} type veth peer name outward netns ${this.router}`);
      return true;
    } catch (thrown) {
      // Without the first it is not this one's to remove.
      if (standing.has(this)) this.removeAtOnce();
      if (`${thrown}`.includes("File exists")) return false;
      throw thrown;
    }
  }

  async connect(): Promise<void> {
    const [router, inner] = [this.router, this.name];
    await ip(`netns add ${inner}`);
    await ip(`-n ${router} link add inward type veth peer name outward netns ${inner}`);
    await ip(`addr add ${this.hostAddress}/30 dev ${this.#link}`);
    await ip(`-n ${router} addr add ${this.#at(2)}/30 dev outward`);
    await ip(`-n ${router} addr add ${this.#at(5)}/30 dev inward`);
    await ip(`-n ${inner} addr add ${this.address}/30 dev outward`);
    await ip(`link set ${this.#link} up`);
    for (const link of ["lo", "outward", "inward"]) await ip(`-n ${router} link set ${link} up`);
    for (const link of ["lo", "outward"]) await ip(`-n ${inner} link set ${link} up`);
    await ip(`route add ${this.address}/32 via ${this.#at(2)}`);
    await ip(`-n ${inner} route add default via ${this.#at(5)}`);
    // The filter drops what comes from an address to which there is no way back, so that one route cuts both
    // directions. And everybody is told that it is unreachable, not one sender in a second.
    const settings = { ip_forward: 1, "conf/all/rp_filter": 1, icmp_ratelimit: 0 };
    const lines = Object.entries(settings).map(
      ([name, value]) => `echo ${value} > /proc/sys/net/ipv4/${name}`,
    );
    await execute(IP!, ["netns", "exec", router, "sh", "-ec", lines.join("\n")]);
  }

  /** Joins the inside to this machine by IPv6 as well. @returns their addresses */
  async connectV6(): Promise<{ readonly inside: string; readonly host: string }> {
    const [router, inner] = [this.router, this.name];
    const [, b, c, d] = this.#block;
    const at = (net: number, n: number) =>
      `fd00:${b.toString(16)}:${(c * 256 + d).toString(16)}:${net}::${n}`;
    // Nobody else has them: it need not be found out first.
    await ip(`-6 addr add ${at(0, 1)}/64 dev ${this.#link} nodad`);
    await ip(`-n ${router} -6 addr add ${at(0, 2)}/64 dev outward nodad`);
    await ip(`-n ${router} -6 addr add ${at(1, 5)}/64 dev inward nodad`);
    await ip(`-n ${inner} -6 addr add ${at(1, 6)}/64 dev outward nodad`);
    const forwards = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
    await execute(IP!, ["netns", "exec", router, "sh", "-ec", forwards]);
    await ip(`-6 route add ${at(1, 6)}/128 via ${at(0, 2)} dev ${this.#link}`);
    await ip(`-n ${inner} -6 route add default via ${at(1, 5)}`);
    return { inside: at(1, 6), host: at(0, 1) };
  }

  /** Spawns inside; the process is the command itself, so its pid and its signals are. */
  run(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    return spawn(IP!, ["netns", "exec", this.name, command, ...args], options);
  }

  /** Drops the route between this machine and the inside, both ways, until `heal`. */
  async cut({ how = "blackhole" }: Cut = {}): Promise<void> {
    await ip(`-n ${this.router} route replace ${how} ${this.address}/32`);
    this.#isCut = true;
  }

  async heal(): Promise<void> {
    if (!this.#isCut) return;
    await ip(`-n ${this.router} route del ${this.address}/32`);
    this.#isCut = false;
  }

  /** Removes what there is of it; what still runs inside is on no network any more. */
  removeAtOnce(): void {
    standing.delete(this);
    // Namespaces that somebody is in outlive their name, and their interfaces with them: so the link goes first. By
    // its end in there, as the name of the other end may be another process's by now.
    spawnSync(IP!, ["-n", this.router, "link", "del", "outward"]);
    for (const name of [this.name, this.router]) spawnSync(IP!, ["netns", "del", name]);
  }

  #at(n: number): string {
    const [a, b, c, d] = this.#block;
    return `${a}.${b}.${c}.${d + n}`;
  }
}

/** Makes a namespace that ends with the test; what is started after it is torn down before it. */
export async function startNamespace(t: Teardown): Promise<Namespace> {
  if (HINDRANCE !== undefined) throw new Error(HINDRANCE);
  removeOrphans();
  for (;;) {
    const namespace = new Namespace(Math.floor(Math.random() * BLOCKS));
    if (!(await namespace.claim())) continue;
    t.teardown(() => namespace.removeAtOnce());
    await namespace.connect();
    return namespace;
  }
}

/** Removes what processes have left that are no more; one that is killed, as tap does when time is up, cannot. */
function removeOrphans(): void {
  const { stdout } = spawnSync(IP!, ["netns", "list"], { encoding: "utf8" });
  for (const [, pid, block] of stdout.matchAll(/^heddle-(\d+)-(\d+)-router\b/gm))
    if (!exists(Number(pid))) new Namespace(Number(block), Number(pid)).removeAtOnce();
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function ip(line: string): Promise<void> {
  await execute(IP!, line.split(" "));
}
