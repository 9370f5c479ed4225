export { type AddedFault, parseFault } from "./added-fault.ts";
export type { Environment } from "./document.ts";
export { ConfigError } from "./fault.ts";
export { parseConfig } from "./parse.ts";
export type { Config } from "./shape.ts";
export { type FaultConfig, faultEffect, faultLastsMs, faultMatch, LONGEST_FAULT_MS } from "./shape-fault.ts";
export { type UpstreamConfig, usualUpstream } from "./shape-upstream.ts";
export { suggestion } from "./suggest.ts";
export { parseDuration } from "./units.ts";
