/**
 * What a sidecar does not see: each of many clients chooses by its own requests in flight, which are a k-th of all.
 *
 * There is no formula for this. What is known are the ends: one client is the supermarket model, and with ever more
 * clients two idle-looking servers are compared, which is chance. The curve between is why heddle does not promise two
 * choices' times to a mesh of many callers that each send little.
 */
import { supermarketMean } from "../closed-forms.ts";
import { runOpenFarm } from "../open-farm.ts";
import { between, type Findings, fixed, nearBy, type Row } from "../rows.ts";

const CLIENTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const SERVERS = 200;
const LOAD = 0.9;
const JOBS = 800_000;

export function ownView(seed: number): Findings {
  const balancing = { algorithm: "leastRequest" } as const;
  const means = CLIENTS.map(
    (clients) => runOpenFarm({ seed, balancing, servers: SERVERS, load: LOAD, jobs: JOBS, clients }).meanMs,
  );
  const one = supermarketMean(LOAD, 2);
  const random = supermarketMean(LOAD, 1);
  const meanOf = (clients: number) => means[CLIENTS.indexOf(clients)]!;
  const what = (clients: number) => `${clients} clients, ${SERVERS} servers at load ${LOAD}, mean time`;
  return {
    rows: [
      nearBy(what(1).replace("clients", "client"), one, meanOf(1), 0.03),
      between(what(10), [one, random], meanOf(10), "one client to chance", fixed(4)),
      between(what(100), [one, random], meanOf(100), "one client to chance", fixed(4)),
      growth([1, 10, 100], meanOf),
    ],
    plots: [
      {
        name: "own-view",
        title: `leastRequest when each client sees only its own requests (load ${LOAD})`,
        x: { label: "clients of the same total load", scale: "log", from: 1, to: 1000 },
        y: { label: "mean time, in services", scale: "linear", from: 0, to: 12 },
        series: [
          { name: "leastRequest of 2", points: CLIENTS.map((k, i) => [k, means[i]!.value]), colour: 0 },
          {
            name: "one client, formula",
            points: [
              [1, one],
              [1000, one],
            ],
            as: "dashes",
            colour: 2,
          },
          {
            name: "random, formula",
            points: [
              [1, random],
              [1000, random],
            ],
            as: "dashes",
            colour: 1,
          },
        ],
      },
    ],
  };
}

/** More clients, longer times, by more than chance. */
function growth(
  clients: readonly number[],
  meanOf: (clients: number) => { readonly value: number; readonly standardError: number },
): Row {
  const means = clients.map(meanOf);
  const surest = means.slice(1).map((mean, i) => {
    const before = means[i]!;
    return (mean.value - before.value) / Math.hypot(mean.standardError, before.standardError);
  });
  const holds = surest.every((errors) => errors > 3);
  return {
    result: `${clients.join(", ")} clients: the time grows with each`,
    published: "towards random",
    here: means.map(({ value }) => value.toFixed(2)).join(", "),
    tolerance: "3 standard errors between neighbours (batch means)",
    holds,
    ...(holds
      ? {}
      : {
          why: `neighbours differ by ${surest.map((errors) => errors.toFixed(1)).join(", ")} standard errors`,
        }),
  };
}
