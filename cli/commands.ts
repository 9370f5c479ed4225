/**
 * The commands as one table: what each is called with, what it does, and the function that does it. The table
 * prints the help, so a command cannot be there and not be listed.
 */
import { check } from "./check.ts";
import type { Command } from "./command.ts";
import { ready } from "./ready.ts";
import { run } from "./run.ts";

export const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    usage: "run --config heddle.yaml | --sidecar-for ID | --proxy-id ID [-- app args]",
    about:
      "start the sidecar, from a file or from its definition in Consul, and the app with it; SIGTERM drains",
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
    usage: "ready [--admin 127.0.0.1:15000]",
    about: "exit with 0 when a running sidecar is ready; for health checks",
    options: { admin: { type: "string", default: "127.0.0.1:15000" } },
    words: [0, 0],
    act: ready,
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
