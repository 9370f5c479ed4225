/**
 * What may be said of cookies that keep a caller with its endpoint.
 *
 * A name that is no token, or a path with a semicolon, would be another cookie than the one that was meant (RFC 6265, 4.1.1), so both
 * are judged here and written out as they stand.
 */
import * as v from "valibot";
import { COOKIE_NAME, COOKIE_PATH } from "../core/index.ts";
import { section } from "./mapping.ts";
import { flag } from "./shape-discovery.ts";
import { duration, text } from "./units.ts";

const NAME = "the name of a cookie such as replica, without blanks and separators";
export const cookieName = v.pipe(v.string(NAME), v.regex(COOKIE_NAME, NAME));

const PATH = "a path such as /, without a semicolon";
export const cookiePath = v.pipe(v.string(PATH), v.regex(COOKIE_PATH, PATH));

/** Longer than a year is no session; browsers forget a cookie after 400 days whatever it says (RFC 6265bis, 5.5). */
export const cookieTtl = duration(0, 8_760 * 3_600_000);

export const sticky = v.optional(
  v.pipe(
    section({
      cookie: cookieName,
      ttl: v.optional(cookieTtl, "0s"),
      path: v.optional(cookiePath, "/"),
      sameSite: v.optional(v.picklist(["strict", "lax", "none"], "one of strict, lax, none"), "lax"),
      secure: v.optional(flag),
      sharedSecret: v.optional(text("a text that all sidecars have")),
    }),
    v.transform(({ cookie, ttl, secure, sharedSecret, ...rest }) => ({
      ...rest,
      name: cookie,
      ttlMs: ttl,
      ...(secure === undefined ? {} : { secure }),
      ...(sharedSecret === undefined ? {} : { sharedSecret }),
    })),
  ),
);
