/**
 * Looking into the shape: which settings there are at a path, and what is expected of them.
 */
import type { Path } from "./document.ts";
import { shape } from "./shape.ts";

/** What the kinds of schema that the shape is built from have to show. */
export interface Schema {
  readonly type: string;
  readonly message?: string;
  readonly wrapped?: Schema;
  readonly default?: unknown;
  readonly pipe?: readonly Schema[];
  readonly options?: readonly unknown[];
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly value?: Schema;
  readonly item?: Schema;
}

export const root = shape as unknown as Schema;

/** The names of the settings in the mapping at this path. */
export function settingsAt(path: Path): readonly string[] {
  return schemasAt(path).flatMap((schema) => Object.keys(schema.entries ?? {}));
}

/** What is expected at this path, in words. */
export function expectedAt(path: Path): string {
  return schemasAt(path)[0]?.message ?? "a setting";
}

function schemasAt(path: Path): readonly Schema[] {
  let schemas = bare(root);
  for (const step of path) schemas = schemas.flatMap((schema) => child(schema, step)).flatMap(bare);
  return schemas;
}

function child({ entries, value, item }: Schema, step: string | number): readonly Schema[] {
  const found = entries === undefined ? (value ?? item) : entries[step];
  return found === undefined ? [] : [found];
}

/** The schema without what is put around it; several when it is one of several. */
export function bare(schema: Schema): readonly Schema[] {
  if (schema.wrapped !== undefined) return bare(schema.wrapped);
  if (schema.pipe !== undefined) return bare(schema.pipe[0]!);
  if (schema.type === "union") return (schema.options as readonly Schema[]).flatMap(bare);
  return [schema];
}
