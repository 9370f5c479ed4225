/**
 * A log that nobody reads, for what is measured or simulated and for tests that are about something else.
 */
import type { Log } from "../../core/index.ts";

export const SILENT_LOG: Log = { debug() {}, info() {}, warn() {}, error() {} };
