/**
 * Servers that take jobs and are done with them later: first come, first served by one or more workers, or all at once
 * by sharing one processor. A server may become slow, or begin to fail fast, at any moment.
 *
 * A server draws the time that a job needs when the job begins (or, sharing, when it comes), so that a server whose
 * latency changes treats those that wait already as one that has become slow would.
 */
import type { Random } from "../../core/index.ts";
import type { Distribution } from "./distributions.ts";
import type { Engine, Happening } from "./engine.ts";
import type { Levels } from "./measures.ts";

/** Who is told when a job has ended. */
export interface Sender {
  settled(job: Job, nowMs: number): void;
}

export class Job implements Happening {
  readonly sender: Sender;
  /** Which of the sender's endpoints it was sent to. */
  readonly target: number;
  readonly sentAtMs: number;
  failed = false;
  /** Work left, while its server shares the processor. */
  leftMs = 0;
  /** Who waits behind it. */
  next: Job | undefined = undefined;
  server: Server | undefined = undefined;

  constructor(sender: Sender, target: number, sentAtMs: number) {
    this.sender = sender;
    this.target = target;
    this.sentAtMs = sentAtMs;
  }

  /** Its time is over. */
  happen(nowMs: number): void {
    this.server!.finish(this, nowMs);
  }
}

export interface ServerOptions {
  readonly service: Distribution;
  /** Jobs at work at a time, the others wait in line; "all" for latency that does not depend on load, "sharing" for one processor shared by all. */
  readonly workers: number | "all" | "sharing";
}

export class Server {
  readonly #engine: Engine;
  readonly #random: Random;
  readonly #levels: Levels | undefined;
  readonly #workers: number;
  readonly #processor: SharedProcessor | undefined;
  #service: Distribution;
  /** When set, every new job fails after such a time, without waiting for a worker. */
  #failing: Distribution | undefined = undefined;
  /** Jobs at work and in line. */
  #inside = 0;
  #insideSinceMs = 0;
  #working = 0;
  #first: Job | undefined = undefined;
  #last: Job | undefined = undefined;

  /** @param levels is told how many are inside, and for how long */
  constructor(engine: Engine, random: Random, { service, workers }: ServerOptions, levels?: Levels) {
    this.#engine = engine;
    this.#random = random;
    this.#levels = levels;
    this.#workers = typeof workers === "number" ? workers : Number.POSITIVE_INFINITY;
    this.#service = service;
    if (workers === "sharing") this.#processor = new SharedProcessor(engine);
  }

  /** From then on its services take this long. */
  serveFrom(atMs: number, service: Distribution): void {
    this.#engine.at(atMs, {
      happen: () => {
        this.#service = service;
      },
    });
  }

  /** From then on it fails after such a time, or, given nothing, no longer. */
  failFrom(atMs: number, answer: Distribution | undefined): void {
    this.#engine.at(atMs, {
      happen: () => {
        this.#failing = answer;
      },
    });
  }

  accept(job: Job, nowMs: number): void {
    job.server = this;
    this.#count(nowMs, 1);
    if (this.#failing !== undefined) {
      job.failed = true;
      this.#engine.at(nowMs + this.#failing.draw(this.#random), job);
    } else if (this.#processor !== undefined) {
      job.leftMs = this.#service.draw(this.#random);
      this.#processor.add(job, nowMs);
    } else if (this.#working < this.#workers) {
      this.#begin(job, nowMs);
    } else {
      if (this.#last === undefined) this.#first = job;
      else this.#last.next = job;
      this.#last = job;
    }
  }

  finish(job: Job, nowMs: number): void {
    this.#count(nowMs, -1);
    if (!job.failed && this.#processor === undefined) {
      this.#working--;
      const next = this.#first;
      if (next !== undefined) {
        this.#first = next.next;
        if (this.#first === undefined) this.#last = undefined;
        this.#begin(next, nowMs);
      }
    }
    job.sender.settled(job, nowMs);
  }

  /** Ends the account of how many are inside. */
  close(nowMs: number): void {
    this.#count(nowMs, 0);
  }

  #begin(job: Job, nowMs: number): void {
    this.#working++;
    this.#engine.at(nowMs + this.#service.draw(this.#random), job);
  }

  #count(nowMs: number, change: number): void {
    this.#levels?.add(this.#inside, this.#insideSinceMs, nowMs);
    this.#inside += change;
    this.#insideSinceMs = nowMs;
  }
}

/** Each of `n` jobs is served at 1/n of the speed. */
class SharedProcessor implements Happening {
  readonly #engine: Engine;
  readonly #jobs: Job[] = [];
  #untilMs = 0;
  /** Whoever comes or goes makes the planned end void: it is of an earlier epoch. */
  #epoch = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  add(job: Job, nowMs: number): void {
    this.#work(nowMs);
    this.#jobs.push(job);
    this.#plan(nowMs);
  }

  happen(nowMs: number, epoch: number): void {
    if (epoch !== this.#epoch) return;
    this.#work(nowMs);
    const job = this.#jobs[this.#nearest()]!;
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
    this.#plan(nowMs);
    job.happen(nowMs);
  }

  #work(nowMs: number): void {
    const doneMs = (nowMs - this.#untilMs) / this.#jobs.length;
    for (const job of this.#jobs) job.leftMs -= doneMs;
    this.#untilMs = nowMs;
  }

  #plan(nowMs: number): void {
    this.#epoch++;
    if (this.#jobs.length === 0) return;
    const { leftMs } = this.#jobs[this.#nearest()]!;
    this.#engine.at(nowMs + leftMs * this.#jobs.length, this, this.#epoch);
  }

  /** The place of the job that will be done first; they are few. */
  #nearest(): number {
    let nearest = 0;
    for (let i = 1; i < this.#jobs.length; i++)
      if (this.#jobs[i]!.leftMs < this.#jobs[nearest]!.leftMs) nearest = i;
    return nearest;
  }
}
