export { FAULT_REASONS, type FaultReason, MessageFault } from "./fault.ts";
export { CHUNKED, UNTIL_CLOSE } from "./framing.ts";
export type { HeadBlock } from "./head-block.ts";
export { DEFAULT_LIMITS, type MessageLimits } from "./limits.ts";
export { type MessageEvents, MessageParser } from "./message-parser.ts";
export { type ParsedRequest, parseRequestHead, unreadableRequest } from "./request-head.ts";
export { type ParsedResponse, parseResponseHead } from "./response-head.ts";
export { chunkPieces, fieldLines, joinHead, lastChunk, reasonPhrase } from "./write.ts";
