/**
 * Why the tail of one endpoint is everybody's: a request that asks many servers waits for the slowest. (Dean and
 * Barroso, "The tail at scale", CACM 2013: 63 % for a hundred servers, "almost one in five" for two thousand.)
 */
import { fanOutShare } from "../closed-forms.ts";
import { twoMode } from "../distributions.ts";
import { binomialError } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { type Findings, nearByChance, percent, type Row } from "../rows.ts";

const CASES = [
  { slowShare: 0.01, servers: 100, requests: 40_000 },
  { slowShare: 0.0001, servers: 2000, requests: 4_000 },
];

export function fanOut(seed: number): Findings {
  return { rows: CASES.map((one) => slowRequests(one, seed)), plots: [] };
}

function slowRequests({ slowShare, servers, requests }: (typeof CASES)[number], seed: number): Row {
  const random = sfc32(seed, STREAMS.services);
  const service = twoMode(5, 1000, slowShare);
  let slow = 0;
  for (let request = 0; request < requests; request++) {
    let slowestMs = 0;
    for (let i = 0; i < servers; i++) slowestMs = Math.max(slowestMs, service.draw(random));
    if (slowestMs === 1000) slow++;
  }
  const published = fanOutShare(slowShare, servers);
  const here = { value: slow / requests, standardError: binomialError(published, requests) };
  const title = `${servers} servers asked, one answer of ${1 / slowShare} slow: slow requests`;
  return nearByChance(title, published, here, percent(1), "binomial");
}
