/**
 * The few words that a room may say to the operator. pino fulfils this; a test hands in a list.
 */
export interface Log {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}
