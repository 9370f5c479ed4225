/**
 * The shape as JSON Schema, for editors. Written to docs/heddle.schema.json by `npm run schema`; a test fails
 * when the file is not what this gives.
 *
 * Two things are added that the shape does not know: a sentence for each setting, which editors show, and that
 * `${NAME}` may stand for any value, which the parser has replaced before it looks at the shape.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import { SENTENCES } from "./sentences.ts";
import { shape } from "./shape.ts";

interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: Node | boolean;
  readonly items?: Node;
  readonly pattern?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Node[];
  readonly default?: unknown;
}

const VARIABLE = { type: "string", pattern: "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}\\n]*)?\\}" };

export function configJsonSchema(): object {
  const schema = toJsonSchema(shape, { typeMode: "input", errorMode: "ignore", target: "draft-07" });
  return {
    $schema: schema.$schema,
    title: "heddle.yaml",
    description: "The configuration of the heddle sidecar proxy",
    ...extended(schema as Node, ""),
    definitions: { variable: VARIABLE },
  };
}

function extended(node: Node, path: string): object {
  const description = SENTENCES[path];
  const said = description === undefined ? {} : { description };
  if (node.anyOf !== undefined)
    return { ...said, ...node, anyOf: node.anyOf.map((one) => extended(one, path)) };
  if (node.items !== undefined) return { ...said, ...node, items: extended(node.items, `${path}[]`) };
  const { properties, additionalProperties: others } = node;
  if (properties !== undefined) {
    const inner = Object.entries(properties).map(([key, value]) => [
      key,
      extended(value, path === "" ? key : `${path}.${key}`),
    ]);
    return { ...said, ...node, properties: Object.fromEntries(inner) };
  }
  if (typeof others === "object")
    return { ...said, ...node, additionalProperties: extended(others, `${path}.<name>`) };
  if (node.type === "string" && node.pattern === undefined && node.enum === undefined)
    return { ...said, ...node };
  const { default: usual, ...plain } = node;
  const standard = usual === undefined ? {} : { default: usual };
  return { ...said, ...standard, anyOf: [plain, { $ref: "#/definitions/variable" }] };
}
