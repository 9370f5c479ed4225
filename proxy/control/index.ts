export { ControlPlane, localPorts } from "./control-plane.ts";
