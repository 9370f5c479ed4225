/**
 * The configuration of one of several workers: what bounds a number is divided, as each worker counts for itself.
 *
 * Shares are rounded up, so that a small bound does not become none. Rates and shares (budgets, error rates) need no
 * division: they hold for a part of the traffic as for the whole.
 */
import type { Config } from "../../config/index.ts";

export function perWorker(config: Config): Config {
  const { workers } = config;
  if (workers === 1) return config;
  const share = (bound: number) => Math.ceil(bound / workers);
  const limits = <
    L extends { readonly connections: number; readonly pending: number; readonly requests: number },
  >(
    of: L,
  ): L => ({
    ...of,
    connections: share(of.connections),
    pending: share(of.pending),
    requests: share(of.requests),
  });
  const listener = <L extends { readonly maxConnections: number }>(of: L): L => ({
    ...of,
    maxConnections: share(of.maxConnections),
  });
  return {
    ...config,
    outbound: { ...config.outbound, listener: listener(config.outbound.listener) },
    inbound: {
      listener: listener(config.inbound.listener),
      app: { ...config.inbound.app, limits: limits(config.inbound.app.limits) },
    },
    upstreams: Object.fromEntries(
      Object.entries(config.upstreams).map(([name, upstream]) => [
        name,
        { ...upstream, options: { ...upstream.options, limits: limits(upstream.options.limits) } },
      ]),
    ),
  };
}
