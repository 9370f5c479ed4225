/**
 * The account of every request: what its caller saw, what the access log says, what /metrics counts.
 *
 * Joined by the request's id while the run lasts, so that memory holds only what is open on one side. A caller's word and a line come in any
 * order; a second line for the same request, or one for a request that nobody sent, is a fault as surely as none.
 */
import type { Series } from "../../test/support/sidecar.ts";
import type { Seen } from "./caller.ts";
import { type AccessLine, ruleOf } from "./rules.ts";

interface Entry {
  readonly kind: string;
  seen?: Seen;
  line?: AccessLine;
}

/** What does not agree, in words, of which only the first are kept. */
const MOST_FAULTS = 20;
/** Of the sidecar's own traffic counts, what is compared. */
const LABELS = ["direction", "upstream", "route", "status", "cause"] as const;

export class Ledger {
  readonly #open = new Map<string, Entry>();
  readonly #byRule = new Map<string, number>();
  readonly #bySeries = new Map<string, number>();
  readonly #attempts = new Map<string, number>();
  readonly #outcomes = new Map<string, number>();
  readonly faults: string[] = [];
  faultCount = 0;
  sent = 0;
  lines = 0;
  /** Answers that were logged with this cause. */
  internalErrors = 0;

  /** A request begins. @returns its id */
  begin(kind: string): string {
    const id = `soak-${this.sent++}`;
    this.#open.set(id, { kind });
    return id;
  }

  saw(id: string, seen: Seen): void {
    const entry = this.#open.get(id)!;
    entry.seen = seen;
    const outcome = [seen.ended, seen.status || "", seen.code, seen.fault]
      .filter((word) => word !== "")
      .join(" ");
    add(this.#outcomes, outcome, 1);
    if (entry.line !== undefined) this.#judge(id, entry);
  }

  logged(line: AccessLine): void {
    this.lines++;
    const { upstream = "", route = "", cause = "" } = line;
    add(this.#bySeries, [line.direction, upstream, route, line.status, cause].join(" "), 1);
    add(this.#attempts, upstream, line.attempts);
    if (cause === "internal_error") this.internalErrors++;
    const entry = this.#open.get(line.requestId);
    if (entry === undefined || entry.line !== undefined) {
      this.#fault(`${line.requestId}: a line of the log too many: ${JSON.stringify(line)}`);
      return;
    }
    entry.line = line;
    if (entry.seen !== undefined) this.#judge(line.requestId, entry);
  }

  /** Requests whose line has not come; at the end, what the rules must explain without one. */
  get withoutLine(): number {
    return this.#open.size;
  }

  /** Those that were sent and have no line yet, which is to come. */
  get awaited(): number {
    let count = 0;
    for (const { seen } of this.#open.values()) if (seen === undefined || seen.sent) count++;
    return count;
  }

  /** At the end: what is still open is judged as it is. */
  close(): void {
    for (const [id, entry] of [...this.#open]) this.#judge(id, entry);
  }

  /** How many requests each rule explained. */
  get byRule(): ReadonlyMap<string, number> {
    return this.#byRule;
  }

  /** How callers' requests ended, most frequent first. */
  get outcomes(): readonly (readonly [string, number])[] {
    return [...this.#outcomes].sort(([, a], [, b]) => b - a);
  }

  /**
   * Compares the log with what /metrics counts, series by series.
   * @param requests the series of heddle_requests_total
   * @param attempts those of heddle_attempts_total
   * @returns every difference, in words
   */
  differences(requests: readonly Series[], attempts: readonly Series[]): string[] {
    const counted = new Map<string, number>();
    for (const { labels, value } of requests)
      add(counted, LABELS.map((name) => labels[name]).join(" "), value);
    const tried = new Map<string, number>();
    for (const { labels, value } of attempts) add(tried, labels["upstream"] ?? "", value);
    return [
      ...unequal("heddle_requests_total", this.#bySeries, counted),
      ...unequal("heddle_attempts_total", this.#attempts, tried),
    ];
  }

  #judge(id: string, { kind, seen, line }: Entry): void {
    this.#open.delete(id);
    const rule = seen && ruleOf(seen, line);
    if (rule === undefined)
      this.#fault(`${id} (${kind}): seen ${JSON.stringify(seen)}, logged ${JSON.stringify(line)}`);
    else add(this.#byRule, rule, 1);
  }

  #fault(text: string): void {
    this.faultCount++;
    if (this.faults.length < MOST_FAULTS) this.faults.push(text);
  }
}

function unequal(
  metric: string,
  logged: ReadonlyMap<string, number>,
  counted: ReadonlyMap<string, number>,
): string[] {
  return [...new Set([...logged.keys(), ...counted.keys()])].flatMap((key) => {
    const [inLog, inMetric] = [logged.get(key) ?? 0, counted.get(key) ?? 0];
    return inLog === inMetric ? [] : [`${metric} ${key}: ${inMetric} counted, ${inLog} in the log`];
  });
}

function add(sums: Map<string, number>, key: string, count: number): void {
  sums.set(key, (sums.get(key) ?? 0) + count);
}
