/**
 * Asks endpoints how loaded they are, beside the requests and never in their way.
 *
 * Not only by what answers to requests say: the endpoints that get none would stay as they were last seen. And not
 * without it: an answer that has just come need not be asked for. One question at a time to each endpoint, so that one that
 * hangs costs one connection, and a burst of requests is no burst of questions. Where there is no room beside the requests,
 * nothing is asked.
 */
import type { AskingBalancer, ReplicaLoad } from "../../balancing/index.ts";
import { type Clock, Exchange, headerValue, ProxyError, type RequestHead } from "../../core/index.ts";
import { ASK, LOAD_HEADER, readLoad } from "../own-load/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";

interface Asked {
  isUnderWay: boolean;
  notBeforeMs: number;
  /** What it said last. */
  load: ReplicaLoad | undefined;
}

/** What was heard so lately need not be asked for. */
const FRESH_MS = 10;
/** An answer that takes longer says little of now. */
const TIMEOUT_MS = 250;
/** When an endpoint that is no sidecar is asked again, or one that did not answer. */
const NO_PEER_MS = 60_000;
const NO_ANSWER_MS = 1_000;

export class LoadProbes {
  readonly #name: string;
  readonly #balancer: AskingBalancer;
  readonly #clock: Clock;
  readonly #asked = new WeakMap<UpstreamEndpoint, Asked>();

  /** @param name of the upstream, for the Host field */
  constructor(name: string, balancer: AskingBalancer, clock: Clock) {
    this.#name = name;
    this.#balancer = balancer;
    this.#clock = clock;
  }

  /** A request has come: some of them are asked. @param candidates the same list while nothing changes */
  ask(candidates: readonly UpstreamEndpoint[]): void {
    for (const endpoint of this.#balancer.toProbe(candidates)) this.#ask(endpoint);
  }

  /** What an endpoint has said last; undefined when it has said nothing. */
  lastOf(endpoint: UpstreamEndpoint): ReplicaLoad | undefined {
    return this.#asked.get(endpoint)?.load;
  }

  /** @param load undefined when there was something to hear that could not be understood */
  heard(endpoint: UpstreamEndpoint, load: ReplicaLoad | undefined, nowMs: number): void {
    const asked = this.#askedOf(endpoint);
    asked.notBeforeMs = nowMs + (load === undefined ? NO_PEER_MS : FRESH_MS);
    asked.load = load;
    if (load === undefined) this.#balancer.onSilence(endpoint.key);
    else this.#balancer.onProbe(endpoint.key, load, nowMs);
  }

  #ask(endpoint: UpstreamEndpoint): void {
    const nowMs = this.#clock.recentMs;
    const asked = this.#askedOf(endpoint);
    if (asked.isUnderWay || nowMs < asked.notBeforeMs) return;
    asked.isUnderWay = true;
    this.#question(endpoint, nowMs).then(
      (text) => {
        asked.isUnderWay = false;
        this.heard(endpoint, readLoad(text), this.#clock.now());
      },
      () => {
        asked.isUnderWay = false;
        asked.notBeforeMs = this.#clock.now() + NO_ANSWER_MS;
        asked.load = undefined;
      },
    );
  }

  async #question({ pool }: UpstreamEndpoint, nowMs: number): Promise<string | undefined> {
    const exchange = new Exchange(
      "outbound",
      "load-question",
      this.#head(),
      undefined,
      "",
      undefined,
      undefined,
      nowMs,
    );
    exchange.state = "running";
    exchange.deadlineMs = nowMs + TIMEOUT_MS;
    const { headers, body } = await pool.beside(exchange);
    // One that is no sidecar may have much to say.
    if (!body.complete) body.cancel(new ProxyError("client_closed", "only its head was wanted"));
    exchange.settle("success", this.#clock.now());
    return headerValue(headers, LOAD_HEADER);
  }

  #head(): RequestHead {
    return {
      method: "OPTIONS",
      target: "*",
      authority: this.#name,
      minorVersion: 1,
      headers: [LOAD_HEADER, ASK],
      expectsContinue: false,
      upgrade: "",
    };
  }

  #askedOf(endpoint: UpstreamEndpoint): Asked {
    let asked = this.#asked.get(endpoint);
    if (asked === undefined) {
      asked = { isUnderWay: false, notBeforeMs: 0, load: undefined };
      this.#asked.set(endpoint, asked);
    }
    return asked;
  }
}
