export { answerLoad } from "./answer-load.layer.ts";
export { ASK, LOAD_HEADER, readLoad } from "./load-header.ts";
export { LoadMeter, sharedCounts } from "./load-meter.ts";
