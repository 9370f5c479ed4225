/**
 * What is known without simulating: queues whose answer is a formula, and where it was published.
 *
 * Time is in mean services, load is the share of the time that a server is busy.
 */

/**
 * P(queue >= i) when each job joins the shortest of `choices` queues drawn at random, for infinitely many servers.
 * (Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher, "The power of two choices in randomized load balancing",
 * IEEE TPDS 2001.) With one choice it is M/M/1.
 */
export function supermarketTail(load: number, choices: number, i: number): number {
  return load ** (choices === 1 ? i : (choices ** i - 1) / (choices - 1));
}

/** The mean time of a job there, by Little's law. */
export function supermarketMean(load: number, choices: number): number {
  let sum = 0;
  for (let i = 1; i < 100_000; i++) {
    const term = supermarketTail(load, choices, i);
    sum += term;
    if (term < 1e-15) break;
  }
  return sum / load;
}

/**
 * The standard error of the mean time in M/M/1 over so many jobs: of the queue's length over a time t it is
 * sqrt(2 load (1 + load) / (1 - load)^4 / t). (Whitt, "Planning queueing simulations", Management Science 1989.) Near
 * full load a run cannot tell its own error by batches, as each batch would have to be thousands of jobs long.
 */
export function singleQueueError(load: number, jobs: number): number {
  const time = jobs / load;
  return Math.sqrt((2 * load * (1 + load)) / (1 - load) ** 4 / time) / load;
}

/** The mean time in M/M/c, waiting and service: Erlang's second formula. (Erlang 1917.) */
export function erlangMean(load: number, workers: number): number {
  const offered = load * workers;
  // Erlang's first formula, by its recursion: no factorials, so no overflow.
  let blocked = 1;
  for (let c = 1; c <= workers; c++) blocked = (offered * blocked) / (c + offered * blocked);
  const waits = blocked / (1 - load * (1 - blocked));
  return 1 + waits / (workers * (1 - load));
}

/** The mean time in M/G/1, first come, first served. (Pollaczek 1930, Khinchine 1932.) In the unit of the moments. */
export function pollaczekKhinchineMean(load: number, mean: number, square: number): number {
  return mean + ((load / mean) * square) / (2 * (1 - load));
}

/** The mean time in M/G/1 with the processor shared: of all the distribution only the mean counts. (Kleinrock 1967.) */
export function sharingMean(load: number, mean: number): number {
  return mean / (1 - load);
}

/**
 * The mean time when a Poisson stream is dealt to `servers` in turns: each one sees every n-th arrival, Erlang gaps, so
 * it is E_n/M/1 with the mean 1 / (1 - s), where s = (n load / (n load + 1 - s))^n. (Kendall 1953 for GI/M/1.)
 */
export function turnsMean(load: number, servers: number): number {
  const rate = servers * load;
  let s = load;
  for (let i = 0; i < 10_000; i++) s = (rate / (rate + 1 - s)) ** servers;
  return 1 / (1 - s);
}

/** A request that asks so many servers is slow when one of them is. (Dean and Barroso, "The tail at scale", CACM 2013.) */
export function fanOutShare(slowShare: number, servers: number): number {
  return 1 - (1 - slowShare) ** servers;
}
