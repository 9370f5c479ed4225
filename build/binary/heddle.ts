/**
 * Where the single executable begins. bin/heddle.js has nothing to do in it: the Node is the right one, and the flags of V8
 * that it would set are in the executable (binary.ts).
 */
import { main } from "../../cli/main.ts";
import { PROGRAM, readTraces } from "./traces.ts";

readTraces(PROGRAM);
void main(process.argv.slice(2)).then((exitCode) => {
  process.exitCode = exitCode;
});
