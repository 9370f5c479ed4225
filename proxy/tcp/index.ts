export { openTcp } from "./endpoint-connection.ts";
