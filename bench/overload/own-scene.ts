/**
 * Scene two: heddle itself is what is short, of its core.
 *
 * Not three times as much as it carries, sent by an open loop: what a refusal costs says whether that can go well, and is measured
 * here instead. Where C requests a second can be carried, n C are sent, and a refusal costs the part r of what it costs to carry one, at
 * most C (1 - n r) / (1 - r) are carried when each of the others is told so. Callers whose connections are bounded, as pools are, cannot
 * send more than comes back; with many of them it is seen what is left of C.
 */
import { examineMachine } from "../load/machine.ts";
import { Processes } from "../load/processes.ts";
import { Ground } from "../scale/ground.ts";
import { saturate } from "../scale/loads.ts";
import type { Plan } from "./scenes.ts";

const WARM_UP_S = 4;
export const CROWD = 2000;

/** Every answer is a refusal: Node alone has more resident than the least limit that can be configured. */
const REFUSES_ALL = "overload: { enabled: true, memoryLimit: 16MiB }";
const PROTECTED = "overload: { enabled: true }";

/** Of one round, in requests per second of one core. */
export interface OwnFigures {
  readonly carried: number;
  readonly refused: number;
  /** Carried for so many connections that always ask. */
  readonly crowd: number;
  readonly crowdP99Ms: number;
}

export async function sidecarIsFull({ rounds, seconds, say }: Plan): Promise<OwnFigures[]> {
  const machine = examineMachine([]);
  await using processes = new Processes();
  const ground = await Ground.prepare(processes, machine);
  const refusing = await ground.heddle(REFUSES_ALL);
  const carrying = await ground.heddle(PROTECTED);
  for (const proxy of [refusing, carrying]) await saturate(proxy, machine.loadCore, WARM_UP_S);
  const all: OwnFigures[] = [];
  for (let round = 1; round <= rounds; round++) {
    const refusals = await saturate(refusing, machine.loadCore, seconds);
    if (refusals.errors < refusals.requests) throw new Error("expected nothing but refusals");
    const few = await saturate(carrying, machine.loadCore, seconds);
    const many = await saturate(carrying, machine.loadCore, seconds, { connections: CROWD });
    const found = {
      carried: (few.requests - few.errors) / few.seconds,
      refused: refusals.requestsPerSecond,
      crowd: (many.requests - many.errors) / many.seconds,
      crowdP99Ms: many.p99Ms,
    };
    all.push(found);
    say(`round ${round} of ${rounds}, heddle's own core: ${JSON.stringify(found)}`);
  }
  return all;
}
