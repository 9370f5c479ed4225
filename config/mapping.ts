/**
 * Mappings as YAML means them. valibot takes a list for an object with the keys 0, 1, 2, so that `inbound: []`
 * would pass for a section that was left out; here a list is a fault of its own.
 */
import * as v from "valibot";

const MAPPING = "a mapping";

/** A mapping with these settings and no others. */
export function section<const E extends v.ObjectEntries>(entries: E) {
  return refusingLists(v.strictObject(entries, MAPPING));
}

/** A mapping whose keys the user chooses. */
export function mappingOf<
  const K extends v.BaseSchema<string, string, v.BaseIssue<unknown>>,
  const V extends v.GenericSchema,
>(key: K, value: V, expected: string) {
  return refusingLists(v.record(key, value, expected));
}

type Refusable = v.GenericSchema & { readonly expects: string; readonly message: string };

function refusingLists<const S extends Refusable>(schema: S): S {
  const run: v.GenericSchema["~run"] = schema["~run"].bind(schema);
  const runOnMappings: v.GenericSchema["~run"] = (dataset, config) => {
    if (!Array.isArray(dataset.value)) return run(dataset, config);
    const refused: v.OutputDataset<unknown, v.BaseIssue<unknown>> = { typed: true, value: dataset.value };
    v._addIssue(schema, "type", refused, config);
    return refused;
  };
  return Object.assign(schema, { "~run": runOnMappings });
}

/** Without what is not said: whoever reads it has defaults of its own. */
export function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}
