/**
 * The listeners of the way out and of the way in, to which the kernel may redirect.
 *
 * It redirects what the app sends to loopback, by the family that it is sent with, so there is a listener for each; what peers send it
 * redirects to the address of an interface, so the way in listens on all of them.
 */
import { networkInterfaces } from "node:os";
import type { Config } from "../../config/index.ts";
import { endpointKey } from "../../core/index.ts";
import { ownConnectionTable } from "../own-connections.ts";
import type { ListenerPlan } from "../plan.ts";
import type { InterceptPlan } from "../transparent/index.ts";

const EVERY_V4 = "0.0.0.0";
const EVERY = "::";
const LOOPBACK_V6 = "::1";

export function outboundListeners(config: Config): Record<string, ListenerPlan> {
  const { listener: options, mode, intercepted } = config.outbound;
  if (mode !== "transparent") return { outbound: { direction: "outbound", options } };
  const virtual: Record<string, string> = {};
  for (const [name, { virtualAddresses }] of Object.entries(config.upstreams))
    for (const { host, port } of virtualAddresses) virtual[endpointKey({ address: host, port })] = name;
  const intercept: InterceptPlan = { ...shared(config), ...intercepted, virtual };
  const at = (listen: typeof options.listen): ListenerPlan => ({
    direction: "outbound",
    options: { ...options, listen },
    intercept,
  });
  const isPlainLoopback = options.listen.host === "127.0.0.1";
  return {
    outbound: at(options.listen),
    ...(isPlainLoopback && hasV6() ? { outbound6: at({ ...options.listen, host: LOOPBACK_V6 }) } : {}),
  };
}

/** What it leads to is for the caller to say. */
export function inboundListener(config: Config): ListenerPlan {
  const { listener: options, mode } = config.inbound;
  if (mode !== "transparent") return { direction: "inbound", options };
  const { listen } = options;
  const host = listen.host === EVERY_V4 && hasV6() ? EVERY : listen.host;
  const intercept: InterceptPlan = {
    ...shared(config),
    virtual: {},
    ports: {},
    detectMs: 0,
    unknown: "allow",
    appPorts: [listen.port, ...(config.service === undefined ? [] : [config.service.port])],
  };
  return { direction: "inbound", options: { ...options, listen: { ...listen, host } }, intercept };
}

function shared({ outbound, inbound, admin, health, upstreams }: Config) {
  const ports = [outbound.listener.listen.port, inbound.listener.listen.port, admin.listen.port];
  if (health !== undefined) ports.push(health.listen.port);
  for (const { localPort } of Object.values(upstreams)) if (localPort !== undefined) ports.push(localPort);
  return { ownPorts: ports.filter((port) => port !== 0), ownTable: ownTable() };
}

let table: SharedArrayBuffer | undefined;

/** One for all listeners of the process, made where it is needed. */
function ownTable(): SharedArrayBuffer {
  table ??= ownConnectionTable();
  return table;
}

function hasV6(): boolean {
  return Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === "IPv6"));
}
