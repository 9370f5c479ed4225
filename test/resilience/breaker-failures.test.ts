import { test } from "tap";
import { ProxyError } from "../../core/index.ts";
import { FAILURE_CLASSES, FailureRules } from "../../resilience/index.ts";

const connect = new ProxyError("connect_failed", "");
const timeout = new ProxyError("attempt_timeout", "");
const reset = new ProxyError("upstream_reset", "");

test("each class counts only where it is named", async (t) => {
  for (const named of ["connect", "timeout", "reset"] as const) {
    const rules = new FailureRules([named]);
    const kinds = [connect, timeout, reset].map((error) => rules.kindOf(error));
    t.same(
      kinds.filter((kind) => kind !== undefined),
      [named],
    );
    t.equal(rules.isFailure(503), false, "no status does");
  }
  t.equal(new FailureRules(["reset"]).outcomeOfBody("failure"), "failure");
  t.equal(new FailureRules(["5xx"]).outcomeOfBody("failure"), "ignored");
});

test("a status counts where it is named: 429 and 501 as well, and then no other of them", async (t) => {
  const usual = new FailureRules(FAILURE_CLASSES);
  for (const status of [200, 404, 429, 499, 501, 505]) t.equal(usual.isFailure(status), false, `${status}`);
  for (const status of [500, 502, 503, 599]) t.equal(usual.isFailure(status), true, `${status}`);
  const rules = new FailureRules([429, 501]);
  t.same(
    [429, 501, 503, 404].map((status) => rules.isFailure(status)),
    [true, true, false, false],
  );
});
