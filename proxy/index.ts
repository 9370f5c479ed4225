export type { AppsEnd } from "./drain.ts";
export { Sidecar, type SidecarAddresses } from "./sidecar.ts";
export { giveBackStartupMemory } from "./startup-memory.ts";
export { systemClock, wallClock } from "./system.ts";
