/**
 * What the webhook counts. A registry of its own: these series exist where the webhook runs and nowhere else, so they are not among the
 * metrics of a sidecar.
 */
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Registry from "prom-client/lib/registry.js";

/** docs/kubernetes.md lists these, and a test compares. */
export const WEBHOOK_METRICS = {
  heddle_webhook_reviews_total: "Reviews answered, by what came of them.",
  heddle_webhook_refused_requests_total:
    "Requests that were no reviews, by the status they were answered with.",
  heddle_webhook_busy_seconds_total: "Time spent on reviews, from the whole request to its answer.",
  heddle_webhook_tls_failures_total: "Handshakes that failed: as a rule the caBundle does not fit.",
  heddle_webhook_crowded_out_total:
    "Callers whose connection was closed to make room for others, as there were too many at once or too much of their bodies.",
  heddle_webhook_certificate_expiry_seconds: "When the certificate in use expires, in seconds since 1970.",
  heddle_webhook_certificate_loads_total: "New certificates found, by whether they could be used.",
} as const;

type Name = keyof typeof WEBHOOK_METRICS;

export class WebhookCounts {
  readonly #registry = new Registry();
  readonly #reviews: Counter<"outcome">;
  readonly #refused: Counter<"status">;
  readonly #busy: Counter;
  readonly #tlsFailures: Counter;
  readonly #crowdedOut: Counter;
  readonly #expiry: Gauge;
  readonly #loads: Counter<"outcome">;

  constructor() {
    const common = (name: Name) => ({ name, help: WEBHOOK_METRICS[name], registers: [this.#registry] });
    this.#reviews = new Counter({ ...common("heddle_webhook_reviews_total"), labelNames: ["outcome"] });
    this.#refused = new Counter({
      ...common("heddle_webhook_refused_requests_total"),
      labelNames: ["status"],
    });
    this.#busy = new Counter(common("heddle_webhook_busy_seconds_total"));
    this.#tlsFailures = new Counter(common("heddle_webhook_tls_failures_total"));
    this.#crowdedOut = new Counter(common("heddle_webhook_crowded_out_total"));
    this.#expiry = new Gauge(common("heddle_webhook_certificate_expiry_seconds"));
    this.#loads = new Counter({
      ...common("heddle_webhook_certificate_loads_total"),
      labelNames: ["outcome"],
    });
  }

  review(outcome: string, tookMs: number): void {
    this.#reviews.inc({ outcome });
    this.#busy.inc(Math.max(0, tookMs) / 1000);
  }

  refused(status: number): void {
    this.#refused.inc({ status: String(status) });
  }

  tlsFailed(): void {
    this.#tlsFailures.inc();
  }

  crowdedOut(): void {
    this.#crowdedOut.inc();
  }

  certificate(expiresAtMs: number): void {
    this.#loads.inc({ outcome: "used" });
    this.#expiry.set(expiresAtMs / 1000);
  }

  certificateRefused(): void {
    this.#loads.inc({ outcome: "refused" });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
