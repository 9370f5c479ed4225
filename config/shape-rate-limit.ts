/**
 * What may be said of a rate limit: how many requests in which time, for whom, and whether in earnest.
 *
 * Always a list, also for one: with a second one beside it nothing has to be written anew.
 */
import * as v from "valibot";
import { section } from "./mapping.ts";
import { duration, text, wholeNumber } from "./units.ts";

/** What may stand between quotes in a structured field, and in the log. */
const NAME = "a name of letters, digits, '-', '_' and '.', such as per-key";
const MODE = "enforce or shadow";
const FIELDS = "refused or all";
const CALLER = "address; a service is known by its certificate alone, and there is no mTLS yet";
const BY = "header or caller, one of them";

/** As a rate of a limit may be: a request in a day, or a hundred thousand in a second. */
const MOST = 100_000;

export const rateLimits = v.optional(
  v.pipe(
    v.array(
      v.pipe(
        section({
          name: v.optional(v.pipe(v.string(NAME), v.regex(/^[A-Za-z0-9._-]{1,64}$/, NAME))),
          requests: wholeNumber(1, MOST),
          per: v.optional(duration(1_000), "1s"),
          burst: v.optional(wholeNumber(1, MOST)),
          by: v.optional(
            v.pipe(
              section({
                header: v.optional(text("the name of a header field")),
                caller: v.optional(v.picklist(["address"], CALLER)),
              }),
              v.check(({ header, caller }) => (header === undefined) !== (caller === undefined), BY),
            ),
          ),
          maxKeys: v.optional(wholeNumber(1, 1_000_000), 10_000),
          mode: v.optional(v.picklist(["enforce", "shadow"], MODE), "enforce"),
          fields: v.optional(v.picklist(["refused", "all"], FIELDS), "refused"),
        }),
        v.transform(({ name, requests, per, burst, by, ...rest }) => ({
          ...rest,
          name: name ?? `${requests}-per-${per / 1000}s`,
          requests,
          perMs: per,
          burst: burst ?? requests,
          by:
            by?.header !== undefined
              ? { of: "header" as const, header: by.header.toLowerCase() }
              : by === undefined
                ? { of: "all" as const }
                : { of: "address" as const },
        })),
      ),
      "a list of rate limits",
    ),
    v.minLength(1, "at least one rate limit"),
  ),
);
