/**
 * The commands as one table: what each is called with, what it does, and the function that does it. The table
 * prints the help, so a command cannot be there and not be listed.
 */
import { check } from "./check.ts";
import type { Command } from "./command.ts";
import { leave } from "./leave.ts";
import { ready } from "./ready.ts";
import { run } from "./run.ts";

export const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    usage: "run --config heddle.yaml | --sidecar-for ID | --proxy-id ID [-- app args]",
    about:
      "start the sidecar, from a file, HEDDLE_CONFIG or its definition in Consul, and the app with it; SIGTERM drains",
    options: {
      config: { type: "string" },
      "sidecar-for": { type: "string" },
      "proxy-id": { type: "string" },
    },
    words: [0, 0],
    takesCommand: true,
    act: run,
  },
  check: {
    usage: "check heddle.yaml",
    about: "print every fault of a configuration with its place",
    options: {},
    words: [1, 1],
    act: check,
  },
  ready: {
    usage: "ready [--admin 127.0.0.1:15000] [--within 60s]",
    about: "exit with 0 when a running sidecar is ready; for health checks",
    options: { admin: { type: "string", default: "127.0.0.1:15000" }, within: { type: "string" } },
    words: [0, 0],
    act: ready,
  },
  leave: {
    usage: "leave [--admin 127.0.0.1:15000] [--wait 15s] [--until-closed 127.0.0.1:3000]",
    about: "tell a running sidecar that its app is about to end; for preStop hooks",
    options: {
      admin: { type: "string", default: "127.0.0.1:15000" },
      wait: { type: "string" },
      "until-closed": { type: "string" },
    },
    words: [0, 0],
    act: leave,
  },
  inject: {
    usage: "inject -f app.yaml | FOLDER | - [--output FOLDER] [--uninject] [--classic] [--transparent]",
    about: "put sidecars into manifests of Kubernetes, and with --uninject take them out",
    options: {
      file: { type: "string", short: "f" },
      output: { type: "string", short: "o" },
      uninject: { type: "boolean" },
      classic: { type: "boolean" },
      transparent: { type: "boolean" },
      image: { type: "string" },
      config: { type: "string" },
      discovery: { type: "string" },
      "log-level": { type: "string" },
    },
    words: [0, 1000],
    // Loaded when it is asked for: a sidecar has no use for it.
    act: async (given) => (await import("./inject.ts")).inject(given),
  },
  redirect: {
    usage: "redirect up|down|print [--config heddle.yaml] [--uid 1337] [--exclude-outbound-cidrs …] …",
    about: "set, remove or print the kernel's rules that lead an app's traffic through its sidecar",
    options: {
      config: { type: "string" },
      with: { type: "string" },
      uid: { type: "string" },
      gid: { type: "string" },
      "outbound-port": { type: "string" },
      "inbound-port": { type: "string" },
      "exclude-uids": { type: "string" },
      "include-inbound-ports": { type: "string" },
      "exclude-inbound-ports": { type: "string" },
      "include-outbound-ports": { type: "string" },
      "exclude-outbound-ports": { type: "string" },
      "include-outbound-cidrs": { type: "string" },
      "exclude-outbound-cidrs": { type: "string" },
      "ipv4-only": { type: "boolean" },
    },
    words: [1, 1],
    // Loaded when it is asked for, as above.
    act: async (given) => (await import("./redirect.ts")).redirect(given),
  },
  webhook: {
    usage: "webhook --certificate tls.crt --key tls.key [--inject all | asked] [--on-fault deny | allow]",
    about: "put sidecars into pods as they are created, asked by the API server of Kubernetes",
    options: {
      certificate: { type: "string" },
      key: { type: "string" },
      host: { type: "string" },
      port: { type: "string", default: "8443" },
      "health-port": { type: "string", default: "8080" },
      inject: { type: "string", default: "all" },
      "on-fault": { type: "string", default: "deny" },
      "on-failure": { type: "string", default: "allow" },
      linger: { type: "string", default: "5s" },
      classic: { type: "boolean" },
      transparent: { type: "boolean" },
      image: { type: "string" },
      config: { type: "string" },
      discovery: { type: "string" },
      "log-level": { type: "string" },
    },
    words: [0, 0],
    act: async (given) => (await import("./webhook.ts")).webhook(given),
  },
  "webhook-certificate": {
    usage: "webhook-certificate --namespace NAMESPACE [--name heddle-webhook] [--valid 365d]",
    about: "make the certificate of the webhook in its cluster, or renew it; for a Job",
    options: {
      namespace: { type: "string" },
      name: { type: "string", default: "heddle-webhook" },
      valid: { type: "string", default: "365d" },
      "renew-within": { type: "string", default: "90d" },
      "api-server": { type: "string" },
      "token-file": { type: "string" },
      "ca-file": { type: "string" },
    },
    words: [0, 0],
    act: async (given) => (await import("./webhook-certificate.ts")).webhookCertificate(given),
  },
  demo: {
    usage: "demo [--rate 20] [--seconds N]",
    about: "bring up a small mesh on this machine and watch it",
    options: { rate: { type: "string", default: "20" }, seconds: { type: "string" } },
    words: [0, 0],
    // Loaded when it is asked for: its apps need modules that a sidecar does not.
    act: async (given) => (await import("./demo/demo.ts")).demo(given),
  },
};
