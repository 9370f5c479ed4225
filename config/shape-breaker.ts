/**
 * What may be said of a breaker: of the endpoints of an upstream, of the app, or of a route.
 *
 * `enabled` is the older word for the two ends of `mode`, and stays: many files have it.
 */
import * as v from "valibot";
import { BREAKER_MODES, FAILURE_CLASSES } from "../resilience/index.ts";
import { section } from "./mapping.ts";
import { flag, withDefaults } from "./shape-discovery.ts";
import { duration, percent, wholeNumber } from "./units.ts";

/** What the time that it is open grows to, unless more is asked for. */
const OPEN_FOR_MAX_MS = 30_000;

const MODE = `one of ${BREAKER_MODES.join(", ")}`;
const FAILURE = `one of ${FAILURE_CLASSES.join(", ")}, or a status from 400 to 599`;
const failure = v.union(
  [
    v.picklist(FAILURE_CLASSES, FAILURE),
    v.pipe(v.number(FAILURE), v.integer(FAILURE), v.minValue(400, FAILURE), v.maxValue(599, FAILURE)),
  ],
  FAILURE,
);

const breaker = (mode: (typeof BREAKER_MODES)[number], consecutiveFailures: number) =>
  v.pipe(
    section({
      mode: v.optional(v.picklist(BREAKER_MODES, MODE), mode),
      enabled: v.optional(flag),
      errorRate: v.optional(percent(1, 100), "50%"),
      minimumRequests: v.optional(wholeNumber(1, 1_000_000), 20),
      consecutiveFailures: v.optional(wholeNumber(0, 1_000_000), consecutiveFailures),
      failures: v.optional(
        v.pipe(v.array(failure, "a list of failures"), v.minLength(1, "at least one kind of failure")),
        [...FAILURE_CLASSES],
      ),
      window: v.optional(duration(100), "10s"),
      openFor: v.optional(duration(10), "5s"),
      openForMax: v.optional(duration(10)),
      probes: v.optional(wholeNumber(1, 1000), 1),
    }),
    v.transform(({ enabled, mode: how, window, openFor, openForMax, ...rest }) => ({
      ...rest,
      mode: enabled === undefined ? how : enabled ? ("enforce" as const) : ("off" as const),
      windowMs: window,
      openForMs: openFor,
      openForMaxMs: openForMax ?? Math.max(OPEN_FOR_MAX_MS, openFor),
    })),
  );

/** Of each endpoint. @param mode unless told otherwise */
export const breakerWith = (mode: (typeof BREAKER_MODES)[number]) => withDefaults(breaker(mode, 5));

/**
 * Of a route; there is none unless asked for. Not after a few failures in a row: one caller whose requests nothing can answer
 * would close the route to all others, who have nowhere else to go.
 */
export const routeBreaker = v.optional(breaker("enforce", 0));
