/**
 * The tables of this bench, every target with what was measured, and where and how that was.
 *
 * The same Markdown goes to the terminal and into docs/benchmarks.md, so that no figure is copied by hand.
 */
import { CRITICALITIES } from "../../core/index.ts";
import { type Figure, figureTable } from "../figure.ts";
import { median } from "../median.ts";
import { latenessLine, placeWords, type Rounds, roundsWords } from "../occasion.ts";
import { numbersTable } from "../table.ts";
import { QUEUE_TIMEOUT_MS, WORK } from "./contenders.ts";
import type { Figures } from "./figures.ts";
import { CROWD, type OwnFigures } from "./own-scene.ts";
import { OVERLOAD, PATIENCE_MS, type Results, type Row } from "./scenes.ts";

/** Of what can be done, so much shall be done. */
const GOODPUT = 0.85;
/** Of the critical requests, which alone are less than what can be done, so many shall be answered. */
const CRITICAL = 0.99;

export function report(app: Results, own: readonly OwnFigures[], occasion: Rounds): string {
  return [
    contendersTable(app),
    figureTable([
      ...app.rows.filter(({ contender }) => contender.isJudged).flatMap(promises),
      ...ownPromises(own),
    ]),
    occasionLines(app, occasion),
  ].join("\n\n");
}

function contendersTable({ rows }: Results): string {
  const head = [
    "before the app",
    "goodput, of capacity",
    "p50 ms",
    "p99 ms",
    "p99 ms at half of the capacity",
    ...CRITICALITIES,
    "refused within (p50, p99) ms",
    "unanswered",
    "well again after s",
  ];
  const body = rows.map((row) => {
    const of = (figure: (figures: Figures) => number) => median(row.rounds.map(figure));
    const ms = (figure: (figures: Figures) => number) => known(of(figure), (value) => value.toFixed(0));
    return [
      row.contender.label,
      percent(of(({ goodput }) => goodput)),
      ms(({ p50Ms }) => p50Ms),
      ms(({ p99Ms }) => p99Ms),
      ms(({ quietP99Ms }) => quietP99Ms),
      ...CRITICALITIES.map((criticality) => percent(of(({ answered }) => answered[criticality]))),
      `${ms(({ refusedP50Ms }) => refusedP50Ms)}, ${ms(({ refusedP99Ms }) => refusedP99Ms)}`,
      percent(of(({ unheard }) => unheard)),
      of(({ recoveredAfterS }) => recoveredAfterS).toFixed(1),
    ];
  });
  return numbersTable(head, body);
}

/** Each round is held against its own bound, and the median of what is left decides. */
function promises({ contender, rounds }: Row): Figure[] {
  const goodput = median(rounds.map((figures) => figures.goodput));
  const boundMs = median(rounds.map(({ quietP99Ms }) => 2 * quietP99Ms + QUEUE_TIMEOUT_MS));
  const p99Ms = median(rounds.map((figures) => figures.p99Ms));
  const critical = median(rounds.map(({ answered }) => answered.critical));
  const isInOrder = rounds.every(
    ({ answered }) => answered.critical >= answered.default && answered.default >= answered.sheddable,
  );
  return [
    {
      what: `${contender.label}: goodput at ${OVERLOAD} times the capacity`,
      measured: percent(goodput),
      target: `at least ${percent(GOODPUT)}`,
      met: goodput >= GOODPUT,
      from: rounds.map((figures) => percent(figures.goodput)).join(", "),
    },
    {
      what: `${contender.label}: p99 of what is admitted`,
      measured: `${p99Ms.toFixed(0)} ms`,
      target: `under ${boundMs.toFixed(0)} ms`,
      met: p99Ms < boundMs,
      from: `twice the p99 at half of the capacity, and the queue's ${QUEUE_TIMEOUT_MS} ms; ${rounds.map((figures) => figures.p99Ms.toFixed(0)).join(", ")}`,
    },
    {
      what: `${contender.label}: critical requests that are answered`,
      measured: percent(critical),
      target: `at least ${percent(CRITICAL)}, and none less than the others`,
      met: critical >= CRITICAL && isInOrder,
      from: rounds
        .map(({ answered }) => CRITICALITIES.map((each) => percent(answered[each])).join(" / "))
        .join(", "),
    },
  ];
}

function ownPromises(own: readonly OwnFigures[]): Figure[] {
  const cost = median(own.map(({ carried, refused }) => carried / refused));
  const most = (1 - GOODPUT) / (OVERLOAD - GOODPUT);
  const times = (1 - GOODPUT * (1 - cost)) / cost;
  const kept = median(own.map(({ carried, crowd }) => crowd / carried));
  return [
    {
      what: "heddle's own core: a refusal costs, of what it costs to carry a small request",
      measured: cost.toFixed(2),
      target: `at most ${most.toFixed(2)}, with which ${percent(GOODPUT)} can be carried of ${OVERLOAD} times as much`,
      met: cost <= most,
      from: `${percent(GOODPUT)} can be kept up to ${times.toFixed(2)} times; ${own.map(({ refused, carried }) => `${refused.toFixed(0)} refused/s to ${carried.toFixed(0)} carried/s`).join(", ")}`,
    },
    {
      what: `heddle's own core: carried for ${CROWD} connections that always ask, to that for 32`,
      measured: percent(kept),
      target: `at least ${percent(GOODPUT)}`,
      met: kept >= GOODPUT,
      from: own
        .map(
          ({ crowd, carried, crowdP99Ms }) =>
            `${crowd.toFixed(0)}/s to ${carried.toFixed(0)}/s, p99 ${crowdP99Ms.toFixed(0)} ms`,
        )
        .join(", "),
    },
  ];
}

function occasionLines({ capacities, rows }: Results, { date, rounds, seconds, ...place }: Rounds): string {
  return [
    `- Measured on ${date}: ${roundsWords(rounds)}, overloads of ${seconds} s each`,
    `- The app has ${WORK.workers} workers of ${WORK.meanMs} ms and answers ${capacities.map((each) => each.toFixed(0)).join(", ")} requests/s; callers wait ${PATIENCE_MS} ms`,
    latenessLine(
      "an overload",
      rows.flatMap((row) => row.rounds.map(({ lateP99Ms }) => lateP99Ms)),
    ),
    `- ${placeWords(place)}`,
  ].join("\n");
}

function known(value: number, text: (value: number) => string): string {
  return Number.isNaN(value) ? "–" : text(value);
}

function percent(share: number): string {
  return known(share, (value) => `${(value * 100).toFixed(1)} %`);
}
