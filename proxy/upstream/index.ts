export { balance } from "./balance.layer.ts";
export type { Situation } from "./division.ts";
export type { UpstreamEndpoint } from "./endpoint.ts";
export { sayBreaker } from "./endpoint-breakers.ts";
export { forward } from "./forward.ts";
export { heardLoad } from "./heard-load.layer.ts";
export { load } from "./load.layer.ts";
export { type Protocol, Upstream, type UpstreamOptions } from "./upstream.ts";
