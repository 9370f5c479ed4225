/**
 * Who takes part, as one table; to add a contender, add an entry.
 *
 * An entry only says what to run: it gets ports and gives back a command and its configuration file. Every
 * contender gets one thread of work, keep-alive on both sides, four endpoints and no access log (unless its
 * name says so), and otherwise its own defaults: what a proxy does without being asked is part of its cost.
 */
import { haproxyConfig, heddleConfig, nginxConfig } from "./configs.ts";
import type { Contender, Setting } from "./contender.ts";

const answersItself = ({ port }: Setting) => `http://127.0.0.1:${port}/`;
const heddleIsReady = ({ adminPort }: Setting) => `http://127.0.0.1:${adminPort}/ready`;
const runHeddle = ({ configFile }: Setting) => [
  process.execPath,
  "bin/heddle.js",
  "run",
  "--config",
  configFile,
];

export const contenders: readonly Contender[] = [
  {
    id: "nginx",
    name: "nginx",
    // The master only reads the configuration and waits.
    measured: "workers",
    config: nginxConfig,
    command: ({ folder, configFile }) => ["nginx", "-p", folder, "-e", "stderr", "-c", configFile],
    readyUrl: answersItself,
  },
  {
    id: "haproxy",
    name: "HAProxy",
    needsProgram: { name: "haproxy", debianPackage: "haproxy" },
    measured: "all processes",
    config: haproxyConfig,
    command: ({ configFile }) => ["haproxy", "-db", "-q", "-f", configFile],
    readyUrl: answersItself,
  },
  {
    id: "http-proxy",
    name: "http-proxy",
    measured: "all processes",
    command: ({ port, upstreamPorts }) => [
      process.execPath,
      "bench/load/http-proxy-peer.ts",
      String(port),
      ...upstreamPorts.map(String),
    ],
    readyUrl: answersItself,
  },
  {
    id: "heddle",
    name: "heddle",
    needsFile: "bin/heddle.js",
    measured: "all processes",
    config: (setting) => heddleConfig(setting, { accessLog: false }),
    command: runHeddle,
    readyUrl: heddleIsReady,
  },
  {
    id: "heddle-access-log",
    name: "heddle, access log on",
    needsFile: "bin/heddle.js",
    measured: "all processes",
    config: (setting) => heddleConfig(setting, { accessLog: true }),
    command: runHeddle,
    readyUrl: heddleIsReady,
  },
];
