/**
 * What a reader made of a connection, in one form for both: what heddle hands on of each message, and how it ended.
 *
 * What llhttp says is brought into this form by rules of their own (terms.ts) and not by heddle's code, so that a
 * mistake there cannot hide itself.
 */
export interface Message {
  /** Method, target and authority; or status and reason. */
  readonly start: Readonly<Record<string, string | number>>;
  /** End-to-end fields, flat pairs. */
  readonly headers: readonly string[];
  /** So far, if the message has not ended. One character is one byte. */
  readonly body: string;
  readonly trailers: readonly string[];
  /** A 1xx answer, which has no body and is not the last one. */
  readonly interim: boolean;
  /** Undefined where llhttp does not know yet. */
  readonly keepAlive: boolean | undefined;
  /** A request to go on in another protocol, if it is granted. */
  readonly upgrade: boolean;
  readonly complete: boolean;
  /** The offset behind the message; of an interim one heddle does not say it. */
  readonly end: number | undefined;
}

export type Ending =
  /** `code` is heddle's reason or llhttp's error; `at` the offset of the byte, which only llhttp says. */
  | { readonly how: "refused"; readonly code: string; readonly at?: number }
  /** A message was the last one, and nothing behind it was read. */
  | { readonly how: "stopped" }
  /** The bytes are over, and no message had begun that has not ended. */
  | { readonly how: "idle" }
  /** The bytes are over in the middle of a message. */
  | { readonly how: "cut" }
  /** Not a way to end: the codec broke its own law. */
  | { readonly how: "broken"; readonly code: string };

export interface Reading {
  readonly messages: readonly Message[];
  readonly ending: Ending;
}

/** In how many pieces, and where: one, one for each byte, or two with this offset between them. */
export type Split = "whole" | "bytes" | number;
