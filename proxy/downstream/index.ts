export { plainAddress } from "./client-address.ts";
export { DownstreamConnection } from "./connection.ts";
export type { ConnectionParts, OpenConnection } from "./connection-parts.ts";
export { Listener } from "./listener.ts";
export type { ListenAddress, ListenerOptions } from "./listener-options.ts";
export { takeOver } from "./take-over.ts";
export { TcpConnection } from "./tcp-connection.ts";
