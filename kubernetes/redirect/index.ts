export { RedirectFault, readRules } from "./rules.ts";
export { BACKENDS, type Backend, downScript, upScript } from "./script.ts";
