/**
 * The chart's templates, filled in by the part of Helm's language that they keep to: values, `toJson`, `if`, `if eq`, `else`.
 *
 * Helm itself is not among what the tests need, so this stands in for it, and refuses anything else: a template that goes beyond it
 * fails here, before it could mean something else to Helm than to this.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

export const CHART = join(import.meta.dirname, "../../kubernetes/chart");

type Values = Readonly<Record<string, unknown>>;

export function chartValues(): Values {
  return parse(readFileSync(join(CHART, "values.yaml"), "utf8"));
}

/** Each template filled in, by its name. */
export function renderedChart(values: Values, namespace: string): ReadonlyMap<string, string> {
  const context = { Values: values, Release: { Namespace: namespace, Revision: 1 } };
  const folder = join(CHART, "templates");
  return new Map(
    readdirSync(folder).map((name) => [name, rendered(readFileSync(join(folder, name), "utf8"), context)]),
  );
}

/** @throws Error for what is not in the part of the language that is known here */
export function rendered(template: string, context: Values): string {
  const lookUp = (path: string): unknown => {
    let value: unknown = context;
    for (const key of path.slice(1).split(".")) value = (value as Values | undefined)?.[key];
    if (value === undefined) throw new Error(`there is no value ${path}`);
    return value;
  };
  const open: boolean[] = [];
  let text = "";
  let from = 0;
  for (const match of template.matchAll(/(\s*)\{\{(-?) (.+?) \}\}/g)) {
    const [all, space = "", trim, action = ""] = match;
    const isShown = () => open.every((shown) => shown);
    if (isShown()) text += template.slice(from, match.index) + (trim === "-" ? "" : space);
    from = match.index + all.length;
    const [, negated, path, word] = /^if (?:(eq) )?(\.[\w.]+)(?: "([\w-]+)")?$/.exec(action) ?? [];
    const [, json, shown] = /^(?:(toJson) )?(\.[\w.]+)$/.exec(action) ?? [];
    if (path !== undefined && (negated === "eq") === (word !== undefined))
      open.push(word === undefined ? isTrue(lookUp(path)) : lookUp(path) === word);
    else if (action === "else" && open.length > 0) open.push(!open.pop());
    else if (action === "end" && open.length > 0) open.pop();
    else if (shown !== undefined) {
      const value = lookUp(shown);
      if (json === undefined && typeof value === "object") throw new Error(`${shown} is no scalar`);
      if (isShown()) text += json === undefined ? String(value) : JSON.stringify(value);
    } else throw new Error(`expected a template of the known part, got {{ ${action} }}`);
  }
  if (open.length > 0) throw new Error("an if has no end");
  return text + template.slice(from);
}

/** As Go's templates see it. */
function isTrue(value: unknown): boolean {
  return value !== false && value !== "" && value !== 0 && !(Array.isArray(value) && value.length === 0);
}

export const MANIFESTS_FOLDER = join(CHART, "../manifests");
export const NAMESPACE = "heddle-system";

/** The files of kubernetes/manifests that the chart amounts to, in the order in which they are applied. */
export function manifestTexts(): ReadonlyMap<string, string> {
  const templates = renderedChart(chartValues(), NAMESPACE);
  const names = [
    "service-accounts.yaml",
    "deployment.yaml",
    "webhook-configuration.yaml",
    "certificate.yaml",
  ];
  return new Map(
    names.map((name, i) => {
      const text = `# Written by npm run manifests, from ${name} of the chart.\n${templates.get(name)!.trim()}\n`;
      return [`${i + 1}0-${name}`, text];
    }),
  );
}
