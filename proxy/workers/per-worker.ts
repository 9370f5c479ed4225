/**
 * The configuration of one of several workers: what bounds a number is divided, as each worker counts for itself.
 *
 * Shares are rounded up, so that a small bound does not become none; retries that a budget allows per second need no
 * rounding. Ratios and times hold for a part of the traffic as for the whole.
 */
import type { Config } from "../../config/index.ts";

type Bounded = Pick<Config["inbound"]["app"], "limits" | "retries">;

export function perWorker(config: Config): Config {
  const { workers } = config;
  if (workers === 1) return config;
  const share = (bound: number) => Math.ceil(bound / workers);
  const upstream = <O extends Bounded>(of: O): O => {
    const { limits, retries } = of;
    return {
      ...of,
      limits: {
        connections: share(limits.connections),
        pending: share(limits.pending),
        requests: share(limits.requests),
      },
      retries: {
        ...retries,
        budget: { ...retries.budget, minPerSecond: retries.budget.minPerSecond / workers },
      },
    };
  };
  const listener = <L extends { readonly maxConnections: number }>(of: L): L => ({
    ...of,
    maxConnections: share(of.maxConnections),
  });
  return {
    ...config,
    outbound: { ...config.outbound, listener: listener(config.outbound.listener) },
    inbound: {
      listener: listener(config.inbound.listener),
      app: upstream(config.inbound.app),
    },
    upstreams: Object.fromEntries(
      Object.entries(config.upstreams).map(([name, of]) => [name, { ...of, options: upstream(of.options) }]),
    ),
  };
}
