/**
 * What may be said of a route: which requests it is for, where they go, and what is different for them.
 */
import * as v from "valibot";
import { defined, mappingOf, section } from "./mapping.ts";
import { routeBreaker } from "./shape-breaker.ts";
import { TEXT, withDefaults } from "./shape-discovery.ts";
import { routedHedge } from "./shape-hedge.ts";
import { policyEntries } from "./shape-policy.ts";
import { name, retryCondition } from "./shape-upstream.ts";
import { duration, text, wholeNumber } from "./units.ts";

const ROUTE_HOST = "a host name without a port, such as orders";
const ROUTE_PATH = "a path that begins with / and has no query";
const path = v.pipe(v.string(ROUTE_PATH), v.regex(/^\/[^?#]*$/, ROUTE_PATH));
const METHOD = "a method in upper case such as GET";

export const route = v.pipe(
  section({
    name: v.optional(text("a route's name")),
    match: withDefaults(
      v.pipe(
        section({
          host: v.optional(
            v.pipe(v.string(ROUTE_HOST), v.regex(/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$/, ROUTE_HOST)),
          ),
          path: v.optional(path),
          pathPrefix: v.optional(path),
          methods: v.optional(
            v.pipe(
              v.array(v.pipe(v.string(METHOD), v.regex(/^[A-Z]+$/, METHOD)), "a list of methods"),
              v.minLength(1, "at least one method"),
            ),
          ),
          headers: v.optional(mappingOf(v.string(), v.string(TEXT), "a mapping of header names to values")),
        }),
        v.transform(({ headers, ...rest }) => ({
          ...rest,
          ...(headers === undefined
            ? {}
            : {
                headers: Object.fromEntries(
                  Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value]),
                ),
              }),
        })),
      ),
    ),
    to: v.pipe(
      v.array(
        section({ upstream: name, weight: v.optional(wholeNumber(0, 1_000_000), 1) }),
        "a list of { upstream, weight }",
      ),
      v.minLength(1, "at least one { upstream, weight }"),
    ),
    timeouts: withDefaults(section({ request: v.optional(duration()), attempt: v.optional(duration()) })),
    breaker: routeBreaker,
    retries: v.optional(
      section({
        attempts: wholeNumber(0, 10),
        on: v.optional(v.array(retryCondition, "a list of conditions")),
      }),
    ),
    ...policyEntries,
    hedge: routedHedge,
  }),
  v.transform((given) => {
    const { timeouts, retries, rateLimits: limits, hedge, fallback: instead, ...rest } = given;
    const { request, attempt } = timeouts;
    const policy = defined({
      requestMs: request,
      attemptMs: attempt,
      retries: retries && defined(retries),
      rateLimits: limits,
      hedge,
      fallback: instead,
    });
    return { ...rest, ...(Object.keys(policy).length === 0 ? {} : { policy }) };
  }),
);
