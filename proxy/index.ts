export { Sidecar, type SidecarAddresses } from "./sidecar.ts";
