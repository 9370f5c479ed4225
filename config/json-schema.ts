/**
 * The shape as JSON Schema, for editors. Written to docs/heddle.schema.json by `npm run schema`; a test fails
 * when the file is not what this gives.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import { shape } from "./shape.ts";

export function configJsonSchema(): object {
  const schema = toJsonSchema(shape, { typeMode: "input", errorMode: "ignore", target: "draft-07" });
  return { ...schema, title: "heddle.yaml", description: "The configuration of the heddle sidecar proxy" };
}
