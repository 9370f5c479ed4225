/**
 * Every setting of the shape in the order in which it stands there, and the tables of docs/configuration.md made
 * from them. What is expected is said in the words of the fault messages, so that page and messages agree.
 */
import { OTHER_DEFAULTS, SENTENCES } from "./sentences.ts";
import { bare, root, type Schema } from "./shape-walk.ts";

export interface Setting {
  /** `upstreams.<name>.timeouts.connect`, `routes[].to[].weight`. */
  readonly path: string;
  readonly expected: string;
  readonly required: boolean;
  /** Undefined when there is none, or none that is a plain value. */
  readonly fallback: unknown;
  readonly isSection: boolean;
}

export function settings(): Setting[] {
  return bare(root).flatMap((schema) => within(schema, ""));
}

/** What is inside of a schema without what is put around it. */
function within(schema: Schema, path: string): Setting[] {
  const { entries, item, value } = schema;
  if (entries !== undefined)
    return Object.entries(entries).flatMap(([key, inner]) =>
      setting(inner, path === "" ? key : `${path}.${key}`),
    );
  if (item !== undefined) return bare(item).flatMap((inner) => within(inner, `${path}[]`));
  // A mapping of plain values is one setting, a mapping of sections is one and its sections are more.
  if (value !== undefined && isSection(value)) return setting(value, `${path}.<name>`);
  return [];
}

function setting(schema: Schema, path: string): Setting[] {
  const itself = {
    path,
    expected: expectation(schema),
    required: schema.type !== "optional",
    fallback: schema.default,
    isSection: isSection(schema),
  };
  return [itself, ...bare(schema).flatMap((inner) => within(inner, path))];
}

function isSection(schema: Schema): boolean {
  return bare(schema).every(({ entries }) => entries !== undefined);
}

function expectation(schema: Schema): string {
  if (schema.wrapped !== undefined) return expectation(schema.wrapped);
  const { message = "", item } = schema;
  return item === undefined || isSection(item) ? message : `${message}, each ${expectation(item)}`;
}

/** The part of docs/configuration.md between the markers: a heading and a table for each section. */
function settingsTables(): string {
  const all = settings();
  const sections = all.filter(({ path }) => !path.includes("."));
  return sections
    .map((section) => {
      const inside = all.filter(
        ({ path }) => /^[a-z]+/i.exec(path)![0] === section.path && path !== section.path,
      );
      const rows = inside.length === 0 ? [section] : inside;
      return [`### ${section.path}`, "", SENTENCES[section.path], "", ...HEAD, ...rows.map(row), ""].join(
        "\n",
      );
    })
    .join("\n");
}

const HEAD = ["| setting | expected | default | meaning |", "|---|---|---|---|"];

function row(setting: Setting): string {
  const { path, expected } = setting;
  return `| \`${path}\` | ${expected} | ${defaultOf(setting)} | ${SENTENCES[path]} |`;
}

/** As a page writes it; empty or `none` where there is none. */
export function defaultOf({ path, required, fallback, isSection: section }: Setting): string {
  if (OTHER_DEFAULTS[path] !== undefined) return OTHER_DEFAULTS[path];
  if (required) return section ? "" : "required";
  if (fallback === undefined) return "none";
  if (section) return "";
  return `\`${Array.isArray(fallback) ? `[${fallback.join(", ")}]` : printed(fallback)}\``;
}

function printed(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Puts the tables into the page; everything else stays as it is. */
export function withSettings(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`expected ${BEGIN} and then ${END} in the page`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${settingsTables()}\n${page.slice(end)}`;
}

const BEGIN = "<!-- settings:begin -->";
const END = "<!-- settings:end -->";
