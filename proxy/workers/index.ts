export { type Planes, WorkerPlanes } from "./worker-planes.ts";
