/**
 * `npm run schema`: writes what is made from the shape, which is docs/heddle.schema.json, the tables in
 * docs/configuration.md, and docs/defaults.md. To be run after a change of the shape, of a sentence or of a number that is listed; a
 * test fails until then.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultsPage } from "./defaults-page.ts";
import { configJsonSchema } from "./json-schema.ts";
import { withSettings } from "./reference.ts";

const DOCS = join(import.meta.dirname, "../docs");
const PAGE = join(DOCS, "configuration.md");

writeFileSync(join(DOCS, "heddle.schema.json"), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
writeFileSync(PAGE, withSettings(readFileSync(PAGE, "utf8")));
writeFileSync(join(DOCS, "defaults.md"), defaultsPage());
