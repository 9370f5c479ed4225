/**
 * What a route may answer for itself when its upstream cannot.
 */
import * as v from "valibot";
import type { FallbackPolicy } from "../core/index.ts";
import { FALLBACK_CAUSES } from "../resilience/index.ts";
import { mappingOf, section } from "./mapping.ts";
import { duration, size, wholeNumber } from "./units.ts";

const CONDITION = `one of ${FALLBACK_CAUSES.join(", ")}, or a status from 500 to 599`;
const condition = v.union(
  [
    v.picklist(FALLBACK_CAUSES, CONDITION),
    v.pipe(v.number(CONDITION), v.integer(CONDITION), v.minValue(500, CONDITION), v.maxValue(599, CONDITION)),
  ],
  CONDITION,
);

const METHOD = "a method in upper case such as GET";
const FIELD = "the name of a header field";
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = "a text that fits into one header field";
const fieldName = v.pipe(v.string(FIELD), v.regex(FIELD_NAME, FIELD));

export const fallback = v.pipe(
  section({
    on: v.optional(
      v.pipe(v.array(condition, "a list of conditions"), v.minLength(1, "at least one condition")),
      [
        "no_endpoint",
        "breaker_open",
        "overflow",
        "queue_timeout",
        "connect_failed",
        "connect_timeout",
        "attempt_timeout",
        "deadline_exceeded",
      ],
    ),
    methods: v.optional(
      v.pipe(
        v.array(v.pipe(v.string(METHOD), v.regex(/^[A-Z]+$/, METHOD)), "a list of methods"),
        v.minLength(1, "at least one method"),
      ),
      ["GET", "HEAD"],
    ),
    status: v.optional(wholeNumber(200, 599)),
    headers: v.optional(
      mappingOf(
        fieldName,
        v.pipe(v.string(VALUE), v.regex(/^[\t\x20-\x7e\x80-\xff]*$/, VALUE)),
        "a mapping of header names to values",
      ),
    ),
    body: v.optional(v.string("a text")),
    lastGood: v.optional(
      section({
        maxAge: v.optional(duration(1000), "10m"),
        maxSize: v.optional(size(1024 ** 3), "64MiB"),
        maxBody: v.optional(size(64 * 1024 ** 2), "1MiB"),
        vary: v.optional(
          v.array(
            v.pipe(
              fieldName,
              v.transform((name) => name.toLowerCase()),
            ),
            "a list of header names",
          ),
          ["accept", "accept-encoding", "accept-language"],
        ),
      }),
    ),
  }),
  v.transform(
    ({ on, methods, status, headers, body, lastGood }): FallbackPolicy => ({
      on,
      methods,
      ...(status === undefined
        ? {}
        : { answer: { status, headers: Object.entries(headers ?? {}).flat(), body: body ?? "" } }),
      ...(lastGood === undefined
        ? {}
        : {
            lastGood: {
              maxAgeMs: lastGood.maxAge,
              maxBytes: lastGood.maxSize,
              maxBodyBytes: lastGood.maxBody,
              vary: lastGood.vary,
            },
          }),
    }),
  ),
);
