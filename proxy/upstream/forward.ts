/**
 * The innermost handler: one attempt to one endpoint, on a pooled connection.
 */
import type { Handler } from "../../core/index.ts";
import type { EndpointPool } from "./pool.ts";

export function forward(pool: EndpointPool): Handler {
  return (exchange) => {
    const unused = pool.takeIdle();
    if (unused !== undefined) return unused.send(exchange);
    return pool.connect(exchange).then((connection) => connection.send(exchange));
  };
}
