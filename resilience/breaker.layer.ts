/**
 * A breaker's place in a stack: a permit before the work, its outcome after the body. On the way to one endpoint it judges
 * every single attempt; on a route, whole requests with all their attempts.
 *
 * What counts as a failure is in breaker-failures.ts.
 */
import {
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  type ProxyResponse,
  watch,
} from "../core/index.ts";
import { type Breaker, UNJUDGED } from "./breaker.ts";
import { type FailureRules, USUAL_FAILURES } from "./breaker-failures.ts";
import { saysTimeIsUp } from "./deadline.ts";

/** On the way to one endpoint. */
export function breakerLayer(
  breaker: Breaker,
  endpoint: string,
  rules: FailureRules = USUAL_FAILURES,
): Layer {
  const isTest = () => false;
  return layer("breaker", breaker, rules, isTest, () => {
    const how = breaker.forced === undefined ? "open" : "forced open";
    return new ProxyError("breaker_open", `the breaker of ${endpoint} is ${how}`, { endpoint });
  });
}

/**
 * On a route, before any work is done for the request. It stands outside of the faults for testing, and what becomes of a
 * request that one of them has hit says nothing: else whoever tests would open the breaker to everybody.
 */
export function routeBreaker(breaker: Breaker, route: string, rules: FailureRules = USUAL_FAILURES): Layer {
  const isTest = ({ injected }: Exchange) => injected !== "";
  return layer("route-breaker", breaker, rules, isTest, () => {
    const how = breaker.forced === undefined ? "open" : "forced open";
    return new ProxyError("breaker_open", `the breaker of the route ${route} is ${how}`);
  });
}

function layer(
  name: string,
  breaker: Breaker,
  rules: FailureRules,
  isTest: (exchange: Exchange) => boolean,
  refusal: () => ProxyError,
): Layer {
  return {
    name,
    wrap(next: Handler): Handler {
      return (exchange) => {
        const permit = breaker.admit();
        if (permit === undefined) return Promise.reject(refusal());
        if (permit === UNJUDGED && breaker.isShadow) exchange.wouldRefuse("breaker_open");
        return judged(next, exchange, breaker, rules, permit, isTest);
      };
    },
  };
}

function judged(
  next: Handler,
  exchange: Exchange,
  breaker: Breaker,
  rules: FailureRules,
  permit: number,
  isTest: (exchange: Exchange) => boolean,
): Promise<ProxyResponse> {
  return watch(
    next,
    exchange,
    (response) => {
      if (isTest(exchange)) breaker.settle(permit, "ignored");
      else if (rules.isFailure(response.status))
        breaker.settle(permit, saysTimeIsUp(exchange, response) ? "ignored" : "failure", response.status);
      // A tunnel may last for days, and a probe must not: the endpoint has done what was asked when it has switched, or
      // taken the connection.
      else if (response.body.complete || response.status === 101 || exchange.opaque)
        breaker.settle(permit, "success");
      else {
        breaker.answers(permit);
        response.body.onClosed((outcome) => breaker.settle(permit, rules.outcomeOfBody(outcome)));
      }
    },
    (thrown) => {
      const kind = isTest(exchange) ? undefined : rules.kindOf(thrown);
      if (kind === undefined) breaker.settle(permit, "ignored");
      else breaker.settle(permit, "failure", kind);
    },
  );
}
