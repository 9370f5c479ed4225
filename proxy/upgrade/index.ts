export { openTunnel } from "./tunnel.ts";
