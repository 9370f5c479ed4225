/**
 * The innermost handler: one attempt to one endpoint, on a pooled connection, or through a tunnel where the request asks
 * for an upgrade that this upstream allows. Any other upgrade is ignored, as RFC 9110, 7.8 permits. A TCP connection gets
 * one of its own.
 */
import type { Handler } from "../../core/index.ts";
import type { EndpointPool } from "./pool.ts";

/** @param upgrades the protocols that may be switched to, in lower case */
export function forward(pool: EndpointPool, upgrades: readonly string[]): Handler {
  return (exchange) => {
    if (exchange.opaque) return pool.tcp(exchange);
    if (exchange.upgrade !== "" && upgrades.includes(exchange.upgrade)) return pool.tunnel(exchange);
    const unused = pool.takeIdle(exchange);
    if (unused !== undefined) return unused.send(exchange);
    return pool.connect(exchange).then((connection) => connection.send(exchange));
  };
}
