/**
 * A plot as a small SVG: axes, grid, lines or dots, and a legend.
 *
 * By hand, since a library for charts is larger than all of bench/ and its output changes with its version; this text
 * changes only when a number does. The ground is transparent and the ink follows the reader's colour scheme.
 */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Dashes are for what is published, dots for single results. */
  readonly as?: "line" | "dashes" | "dots";
  /** Series of one colour belong together: its number in the palette. */
  readonly colour: number;
}

export interface Axis {
  readonly label: string;
  readonly scale: "linear" | "log";
  /** The ends; a logarithmic axis has no zero. */
  readonly from: number;
  readonly to: number;
  /** Where it is marked, and how; at even steps or at powers of ten unless told otherwise. */
  readonly ticks?: readonly (readonly [at: number, text: string])[];
}

export interface Plot {
  /** Of the file, without the ending. */
  readonly name: string;
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

const WIDTH = 760;
const HEIGHT = 400;
const FRAME = { left: 70, right: 550, top: 44, bottom: 344 } as const;
const LEGEND_X = FRAME.right + 16;

/** Of middle lightness, at least 3:1 on white and on GitHub's dark ground. */
const PALETTE = ["#3b7dd8", "#d9571c", "#2b9348", "#b04fcf", "#7d8590", "#c9941a"];

const STYLE = `text{font:12px system-ui,sans-serif;fill:#424a53}.title{font-size:14px;font-weight:600}
.axis{stroke:#6e7781;fill:none}.grid{stroke:#6e7781;stroke-opacity:.22}.line{fill:none;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.axis{stroke:#8b949e}}`;

export function svg(plot: Plot): string {
  const across = scaleOf(plot.x, FRAME.left, FRAME.right);
  const up = scaleOf(plot.y, FRAME.bottom, FRAME.top);
  const middle = (FRAME.left + FRAME.right) / 2;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(plot.title)}">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="${FRAME.left}" y="24">${escaped(plot.title)}</text>`,
    ...ticksOf(plot.x).flatMap(([at, text]) => [
      `<path class="grid" d="M${across(at)} ${FRAME.top}V${FRAME.bottom}"/>`,
      `<text x="${across(at)}" y="${FRAME.bottom + 18}" text-anchor="middle">${escaped(text)}</text>`,
    ]),
    ...ticksOf(plot.y).flatMap(([at, text]) => [
      `<path class="grid" d="M${FRAME.left} ${up(at)}H${FRAME.right}"/>`,
      `<text x="${FRAME.left - 8}" y="${up(at) + 4}" text-anchor="end">${escaped(text)}</text>`,
    ]),
    `<path class="axis" d="M${FRAME.left} ${FRAME.top}V${FRAME.bottom}H${FRAME.right}"/>`,
    `<text x="${middle}" y="${HEIGHT - 14}" text-anchor="middle">${escaped(plot.x.label)}</text>`,
    `<text transform="translate(16 ${(FRAME.top + FRAME.bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(plot.y.label)}</text>`,
    ...plot.series.map((series) =>
      shape(
        series,
        series.points.map(([x, y]) => [across(x), up(y)]),
      ),
    ),
    ...plot.series.flatMap((series, i) => {
      const y = FRAME.top + 10 + 20 * i;
      const sample =
        series.as === "dots"
          ? [[LEGEND_X + 12, y]]
          : [
              [LEGEND_X, y],
              [LEGEND_X + 24, y],
            ];
      return [
        shape(series, sample as [number, number][]),
        `<text x="${LEGEND_X + 32}" y="${y + 4}">${escaped(series.name)}</text>`,
      ];
    }),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

function shape({ as = "line", colour }: Series, points: readonly (readonly [number, number])[]): string {
  const ink = PALETTE[colour % PALETTE.length]!;
  if (as === "dots")
    return points.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3.5" fill="${ink}"/>`).join("");
  const dashes = as === "dashes" ? ' stroke-dasharray="5 4"' : "";
  return `<path class="line" stroke="${ink}"${dashes} d="M${points.map(([x, y]) => `${x} ${y}`).join("L")}"/>`;
}

/** From a value to its place in the picture, to a tenth of a pixel; what is outside lies on the edge. */
function scaleOf({ scale, from, to }: Axis, start: number, end: number): (value: number) => number {
  const on = scale === "log" ? Math.log10 : (value: number) => value;
  return (value) => {
    const inside = Math.min(Math.max(value, Math.min(from, to)), Math.max(from, to));
    const part = (on(inside) - on(from)) / (on(to) - on(from));
    return Math.round(10 * (start + part * (end - start))) / 10;
  };
}

function ticksOf({ scale, from, to, ticks }: Axis): readonly (readonly [number, string])[] {
  if (ticks !== undefined) return ticks;
  if (scale === "log") {
    const first = Math.ceil(Math.log10(from) - 1e-9);
    const last = Math.floor(Math.log10(to) + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => [
      10 ** (first + i),
      String(Number((10 ** (first + i)).toPrecision(1))),
    ]);
  }
  const rough = (to - from) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => {
    const at = Number(((first + i) * step).toPrecision(12));
    return [at, String(at)];
  });
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
