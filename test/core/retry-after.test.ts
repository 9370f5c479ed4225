import { test } from "tap";
import { retryAfterMs } from "../../core/index.ts";

test("Retry-After is read in seconds", async (t) => {
  t.equal(retryAfterMs(["Retry-After", "120"]), 120_000);
  t.equal(retryAfterMs(["retry-after", " 0 "]), 0);
});

test("a date in Retry-After counts from the Date of the same answer, whatever the time is here", async (t) => {
  const at = (seconds: number) => new Date(Date.UTC(2001, 1, 1) + seconds * 1000).toUTCString();
  t.equal(retryAfterMs(["Date", at(0), "Retry-After", at(90)]), 90_000);
  t.equal(retryAfterMs(["Date", at(10), "Retry-After", at(0)]), 0, "one that is past asks for nothing");
  t.equal(retryAfterMs(["Retry-After", at(90)]), undefined, "without a Date nobody knows how long");
});

test("what is no time is none", async (t) => {
  for (const value of ["", "soon", "-1", "1.5", "1e3", "99999999999", "Infinity"])
    t.equal(retryAfterMs(["Retry-After", value]), undefined, value);
  t.equal(retryAfterMs(["Content-Type", "text/plain"]), undefined);
});
