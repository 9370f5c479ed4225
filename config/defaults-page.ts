/**
 * docs/defaults.md: every default in one place, from the shape and from the code. Settings that stand in several sections with the same
 * default and the same meaning are one row.
 *
 * Constants are read as text and not imported: most are nobody's but their own file's, and stay so.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FIXED_NUMBERS, type NumberUnit } from "./fixed-numbers.ts";
import { defaultOf, settings } from "./reference.ts";
import { SENTENCES } from "./sentences.ts";

const ROOT = join(import.meta.dirname, "..");

const INTRO = `# Defaults

Made by \`npm run schema\` from the shape of the configuration and from the code; a test fails until it is. What each setting expects is in
[configuration.md](configuration.md), what the time limits cover and how they nest in [timeouts.md](timeouts.md).

## Settings

What holds where the file says nothing. Settings that are off, or nothing, unless they are written are not here.

| setting | default | meaning |
|---|---|---|
`;

const FIXED = `
## What is not a setting

| what | value | where |
|---|---|---|
`;

export function defaultsPage(): string {
  return `${INTRO}${settingRows().join("\n")}\n${FIXED}${fixedRows().join("\n")}\n`;
}

/** Empty unless something is written; what may be written there has rows of its own. */
const WHOLE_SECTIONS: ReadonlySet<string> = new Set(["upstreams", "routes"]);

function settingRows(): string[] {
  const rows = new Map<string, string[]>();
  for (const setting of settings()) {
    if (WHOLE_SECTIONS.has(setting.path)) continue;
    const usual = defaultOf(setting);
    if (usual === "" || usual === "none" || usual === "required") continue;
    const said = `${usual} | ${SENTENCES[setting.path]}`;
    rows.set(said, [...(rows.get(said) ?? []), `\`${setting.path}\``]);
  }
  return [...rows].map(([said, paths]) => `| ${paths.join(", ")} | ${said} |`);
}

function fixedRows(): string[] {
  return FIXED_NUMBERS.map(
    ({ file, name, unit, sentence }) =>
      `| ${sentence} | ${valueText(constantOf(file, name), unit)} | \`${name}\` in \`${file}\` |`,
  );
}

/**
 * The value of a constant as it is written.
 * @throws Error when the file has no such constant, or one that is no plain number
 */
function constantOf(file: string, name: string): number {
  const text = readFileSync(join(ROOT, file), "utf8");
  const [, written] =
    new RegExp(`^(?:export )?const ${name}(?:: number)? = ([\\d_.*/ ]+);`, "m").exec(text) ?? [];
  if (written === undefined) throw new Error(`expected a number ${name} in ${file}, got none`);
  const [first, ...rest] = written.replaceAll("_", "").split(/ ([*/]) /);
  let value = Number(first);
  for (let i = 0; i < rest.length; i += 2)
    value = rest[i] === "*" ? value * Number(rest[i + 1]) : value / Number(rest[i + 1]);
  return value;
}

const TIMES = [
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

const SIZES = [
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
  ["B", 1],
] as const;

function valueText(value: number, unit: NumberUnit): string {
  switch (unit) {
    case "ms":
      return inUnits(value, TIMES);
    case "s":
      return inUnits(value * 1_000, TIMES);
    case "bytes":
      return inUnits(value, SIZES);
    case "share":
      return `${Number((value * 100).toPrecision(3))} %`;
    case "per second":
      return `${value} a second`;
    case "":
      return String(value);
  }
}

/** In the largest unit that is not larger. */
function inUnits(value: number, units: readonly (readonly [string, number])[]): string {
  const [name, size] = units.find(([, least]) => value >= least) ?? units[units.length - 1]!;
  return `${Number((value / size).toPrecision(4))} ${name}`;
}
