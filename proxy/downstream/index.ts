export { Listener } from "./listener.ts";
export type { ListenAddress, ListenerOptions } from "./listener-options.ts";
