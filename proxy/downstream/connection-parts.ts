/**
 * What the listener lends to each of its connections: how to make exchanges, where to hand them, and whom to tell.
 */
import type { Clock, Direction, Exchange, Handler, Log, ProxyError } from "../../core/index.ts";
import type { HeadBlock, ParsedRequest } from "../http1/index.ts";
import type { TcpCounts } from "../tcp-tally.ts";
import type { ListenerOptions } from "./listener-options.ts";

/** A caller's connection as its listener sees it. */
export interface OpenConnection {
  /** The caller has not taken all of what was written. */
  readonly unread: boolean;
  /** If it has switched protocols: asks the caller to go elsewhere. */
  leaveTunnel(): void;
  /** Closes it at once if nothing is going on. */
  closeIfIdle(): void;
  /** Ends it at once; a request that is under way fails with `reason`. */
  destroy(reason: ProxyError): void;
}

/** What a connection needs of its listener. */
export interface ConnectionParts {
  readonly direction: Direction;
  readonly boundUpstream: string | undefined;
  /** Where a connection that was redirected was going, for the log. */
  readonly destination?: string | undefined;
  /** The one endpoint that its caller has named; empty for any. */
  readonly pinnedTo?: string | undefined;
  /** `tcp` where connections are carried as they are. */
  readonly protocol: "http" | "tcp" | undefined;
  readonly options: ListenerOptions;
  readonly clock: Clock;
  readonly log: Log;
  readonly handle: Handler;
  /** @throws MessageFault */
  parseHead(block: HeadBlock): ParsedRequest;
  /** The caller's request id if it sent a usable one, else a fresh one. */
  requestId(headers: readonly string[]): string;
  draining(): boolean;
  /** Where bytes of TCP connections are counted. */
  tcpCounts(direction: Direction, upstream: string): TcpCounts;
  onBegun(exchange: Exchange): void;
  onSettled(exchange: Exchange): void;
  onClosed(connection: OpenConnection): void;
}
