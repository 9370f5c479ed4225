export { openTcp } from "./endpoint-connection.ts";
export { passOn } from "./pass-on.ts";
