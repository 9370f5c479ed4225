export { balance } from "./balance.layer.ts";
export { forward } from "./forward.ts";
export { load } from "./load.layer.ts";
export { Upstream, type UpstreamEndpoint, type UpstreamOptions } from "./upstream.ts";
