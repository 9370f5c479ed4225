export type { Environment } from "./document.ts";
export { ConfigError, type ConfigFault, formatFault } from "./fault.ts";
export { parseConfig } from "./parse.ts";
export type { Config, ConsulConfig, ServiceConfig } from "./shape.ts";
