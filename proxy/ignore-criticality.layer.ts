/**
 * Takes the word for how much a request matters off what comes in, where strangers may send it.
 *
 * Off the request and not only unread: the app would send it on with its own calls, and its peers would believe it. Before
 * whatever goes by it.
 */
import { CRITICALITY_HEADER, type Handler, type Layer, removeHeader } from "../core/index.ts";

export function ignoreCriticality(): Layer {
  return {
    name: "ignore-criticality",
    wrap(next: Handler): Handler {
      return (exchange) => {
        removeHeader(exchange.headers, CRITICALITY_HEADER);
        return next(exchange);
      };
    },
  };
}
