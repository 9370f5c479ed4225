/**
 * Knows the question by which a registry learns whether the app is well, and lets it past whatever refuses a request for being one
 * too many: overload, rate limits, the queue for the app and the limit of its connections. Past fallbacks and faults for testing, too, as
 * the registry is to hear of the app and of nothing else.
 *
 * A busy replica that refuses it is taken for dead, and its load goes to the next one, which is as busy. Not a port or a
 * stack of its own for it: what Consul asks is what callers ask, on the way that they take. Not "the registry's address" either:
 * agents move, and a name in a header is anybody's. So anybody may ask for that path, and what he gains is bounded: so many
 * at a time, without a body; what is more is a request like any other.
 */
import type { Exchange, Handler, Layer } from "../core/index.ts";

/** An agent has one such question under way; there may be a few who ask. Of each worker. */
export const HEALTH_QUESTIONS = 4;

/** @param path of the question, with its query if it has one */
export function healthQuestion(path: string): Layer {
  let underWay = 0;
  const ended = () => {
    underWay--;
  };
  return {
    name: "health-question",
    wrap(next: Handler): Handler {
      return (exchange) => {
        if (exchange.target === path && isQuestion(exchange) && underWay < HEALTH_QUESTIONS) {
          underWay++;
          exchange.asksForHealth = true;
          exchange.onSettled(ended);
        }
        return next(exchange);
      };
    },
  };
}

/** The layer, but for health questions, which go past it. */
export function unlessHealth(layer: Layer): Layer {
  return {
    name: layer.name,
    wrap(next: Handler): Handler {
      const inside = layer.wrap(next);
      return (exchange) => (exchange.asksForHealth ? next : inside)(exchange);
    },
  };
}

function isQuestion({ method, body, upgrade }: Exchange): boolean {
  return method === "GET" && body === undefined && upgrade === "";
}
