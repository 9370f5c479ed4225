/**
 * A pod: a network namespace with an app, a sidecar that runs as a user of its own, and rules of the kernel that lead the one's
 * traffic through the other. Peers are on this machine, at the other end of the namespace's link.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { type Namespace, startNamespace, withoutNamespaces } from "./namespace.ts";

/** With the folders of administrators' tools, which are not on everybody's path. */
const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
export const APP_UID = 1000;
export const SIDECAR_UID = 1337;

/** For the `skip` of tests that need a pod. */
export const withoutPods: false | string =
  withoutNamespaces ||
  (["nft", "iptables", "ip6tables", "setpriv"].some(
    (tool) => spawnSync("sh", ["-c", `command -v ${tool}`], { env }).status !== 0,
  )
    ? "it needs nft, iptables, ip6tables and setpriv; Debian has them in nftables, iptables and util-linux"
    : false);

export interface Pod {
  readonly namespace: Namespace;
  /** The addresses of the pod, and of this machine as the pod calls it. */
  readonly v4: { readonly inside: string; readonly host: string };
  readonly v6: { readonly inside: string; readonly host: string };
  /** Runs to its end inside, as a user. @returns standard output */
  run(uid: number, command: string, ...args: string[]): Promise<string>;
  /** `heddle redirect` as root. @throws Error when it fails */
  redirect(...words: string[]): void;
  /** A tool of the system that fails from now on, for `redirect` alone. @returns what makes it well again */
  breakTool(name: string): () => void;
  /** What rules there are, in the words of both tools. */
  rules(): string;
  /** Starts something inside as a user, and resolves when it has said a line for which this holds. */
  start(uid: number, isUp: (line: string) => boolean, ...words: string[]): Promise<Started>;
  /** Starts a sidecar; its log is kept. */
  sidecar(configuration: object, uid?: number): Promise<Started>;
  /** Connects from inside as a user, says something, and resolves to what comes back, or to the code of the error. */
  speak(to: string, port: number, words: string, uid?: number): Promise<string>;
  /** The sum of a metric of the sidecar. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

export interface Started {
  readonly process: ChildProcess;
  readonly lines: readonly string[];
}

/**
 * Says words and reads until there is a `!`, or the other side has ended. `~` is the end of a line, `|` a moment's pause, and `^` at the
 * beginning means that its own side ends behind the words.
 */
const SPEAK = `
const [address, port, words] = process.argv.slice(1);
const socket = require("node:net").connect({ host: address, port: Number(port) });
let heard = "";
const tell = (text) => { process.stdout.write(text); process.exit(); };
const [first, rest] = words.replace("^", "").replaceAll("~", "\\r\\n").split("|");
socket.write(first, "latin1", () => { if (rest !== undefined) setTimeout(() => socket.write(rest, "latin1"), 20); });
if (words.startsWith("^")) socket.end();
socket.on("data", (bytes) => { heard += bytes.toString("latin1"); if (heard.includes("!")) tell(heard); });
socket.on("end", () => tell(heard));
socket.on("error", (error) => tell(heard + error.code));
`;

export async function startPod(t: Test): Promise<Pod> {
  const namespace = await startNamespace(t);
  const v6 = await namespace.connectV6();
  const folder = mkdtempSync(join(tmpdir(), "heddle-pod-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  execFileSync("chmod", ["755", folder]);
  const broken = join(folder, "broken");
  mkdirSync(broken);
  const as = (uid: number, words: readonly string[], options: SpawnOptions = {}) =>
    namespace.run(
      "setpriv",
      ["--reuid", String(uid), "--regid", String(uid), "--clear-groups", ...words],
      options,
    );
  const pod: Pod = {
    namespace,
    v4: { inside: namespace.address, host: namespace.hostAddress },
    v6,
    async run(uid, command, ...args) {
      const process = as(uid, [command, ...args]);
      let said = "";
      process.stdout!.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      process.stderr!.resume();
      await once(process, "close");
      return said;
    },
    redirect(...words) {
      const args = ["netns", "exec", namespace.name, process.execPath, HEDDLE, "redirect", ...words];
      const withBroken = { ...env, PATH: `${broken}:${env.PATH}` };
      const { status, stderr } = spawnSync("ip", args, { encoding: "utf8", env: withBroken });
      if (status !== 0) throw new Error(stderr);
    },
    breakTool(name) {
      const file = join(broken, name);
      writeFileSync(file, "#!/bin/sh\necho broken >&2\nexit 4\n", { mode: 0o755 });
      return () => rmSync(file);
    },
    rules() {
      const list = "nft list ruleset; iptables-save; ip6tables-save";
      const { stdout } = spawnSync("ip", ["netns", "exec", namespace.name, "sh", "-c", list], {
        encoding: "utf8",
        env,
      });
      // Without its times and counters.
      return stdout.replace(/^#.*$/gm, "").replace(/\[\d+:\d+\]/g, "");
    },
    async start(uid, isUp, ...words) {
      const child = as(uid, words);
      t.teardown(() => child.kill("SIGKILL"));
      const lines: string[] = [];
      const errors: string[] = [];
      child.stderr!.setEncoding("utf8").on("data", (text: string) => void errors.push(text));
      const up = Promise.withResolvers<void>();
      createInterface(child.stdout!).on("line", (line) => {
        lines.push(line);
        if (isUp(line)) up.resolve();
      });
      child.once("close", () => up.reject(new Error(`it ended: ${lines.join("\n")}${errors.join("")}`)));
      await up.promise;
      return { process: child, lines };
    },
    sidecar(configuration, uid = SIDECAR_UID) {
      const file = join(folder, "heddle.yaml");
      writeFileSync(file, JSON.stringify({ shutdown: { grace: "0s" }, ...configuration }));
      const isUp = (line: string) => line.includes('"msg":"ready"');
      return pod.start(uid, isUp, process.execPath, HEDDLE, "run", "--config", file);
    },
    speak: (to, port, words, uid = APP_UID) =>
      pod.run(uid, process.execPath, "-e", SPEAK, to, String(port), words),
    async metric(name, labels = {}) {
      const ask = `fetch("http://127.0.0.1:15000/metrics").then((a) => a.text()).then(console.log)`;
      const text = await pod.run(SIDECAR_UID, process.execPath, "-e", ask);
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const lines = text
        .split("\n")
        .filter((line) => line.startsWith(`${name}{`) && wanted.every((pair) => line.includes(pair)));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
  };
  return pod;
}

/** A server of this machine, on every address of it; what it heard on each connection is kept. */
export async function startPeer(t: Test, greet: (heard: string) => string | undefined): Promise<Peer> {
  const heard: string[] = [];
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const place = heard.push("") - 1;
    open.add(socket);
    socket.on("error", () => {});
    const answer = () => {
      const said = greet(heard[place]!);
      if (said !== undefined) socket.write(said);
    };
    answer();
    socket.on("data", (bytes) => {
      heard[place] += bytes.toString("latin1");
      answer();
    });
  });
  server.listen(0, "::");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, heard };
}

export interface Peer {
  readonly port: number;
  readonly heard: readonly string[];
}

/** Answers a request with a text. */
export function answersHttp(text: string): (heard: string) => string | undefined {
  return (heard) =>
    heard.includes("\r\n\r\n")
      ? `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`
      : undefined;
}
