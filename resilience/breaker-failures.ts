/**
 * What counts as a failure, and of which kind it is.
 *
 * By default what blames the endpoint: no connection, no answer in time, a broken answer, and the statuses that
 * say so. 501 and 505 judge the request, not the endpoint, and so does every status below 500; whoever wants one of them to count
 * names it, such as 429 of a service that has no other way to say that it is full. A caller that hung up judges nothing.
 */
import { asProxyError, type ErrorCode, type Outcome } from "../core/index.ts";
import { FAILURE_CLASSES, type FailureKind } from "./breaker-options.ts";
import { CALLERS_LIMIT } from "./deadline.ts";

/** Whether a status says that the endpoint is failing. */
export function isEndpointFailure(status: number): boolean {
  return status >= 500 && status !== 501 && status !== 505;
}

/** What a failed attempt says about the endpoint. */
export function outcomeOf(thrown: unknown): Outcome {
  const { code, detail, endpoint, kind } = asProxyError(thrown);
  // The deadline is ours, but an endpoint that let it pass was too slow for it. The caller's says nothing of the endpoint.
  if (code === "deadline_exceeded")
    return endpoint === undefined || detail === CALLERS_LIMIT ? "ignored" : "failure";
  return kind.origin === "upstream" ? "failure" : "ignored";
}

/** The codes that are no broken answer. One that stops in the middle is: its head was there in time. */
const CLASS_OF: Partial<Record<ErrorCode, FailureKind>> = {
  connect_failed: "connect",
  connect_timeout: "connect",
  attempt_timeout: "timeout",
  deadline_exceeded: "timeout",
};

export class FailureRules {
  readonly #statuses = new Set<number>();
  readonly #classes = new Set<FailureKind>();
  readonly #serverErrors: boolean;

  constructor(failures: readonly FailureKind[]) {
    for (const failure of failures)
      if (typeof failure === "number") this.#statuses.add(failure);
      else this.#classes.add(failure);
    this.#serverErrors = this.#classes.has("5xx");
  }

  /** Whether an answer is a failure by its status. */
  isFailure(status: number): boolean {
    if (status < 400) return false;
    return (this.#serverErrors && isEndpointFailure(status)) || this.#statuses.has(status);
  }

  /** The kind of failure that an error is; undefined when it says nothing. */
  kindOf(thrown: unknown): FailureKind | undefined {
    if (outcomeOf(thrown) !== "failure") return undefined;
    const kind = CLASS_OF[asProxyError(thrown).code] ?? "reset";
    return this.#classes.has(kind) ? kind : undefined;
  }

  /** What the end of an answer's body says. */
  outcomeOfBody(outcome: Outcome): Outcome {
    return outcome === "failure" && !this.#classes.has("reset") ? "ignored" : outcome;
  }
}

/** As it is unless told otherwise. */
export const USUAL_FAILURES: FailureRules = new FailureRules(FAILURE_CLASSES);
