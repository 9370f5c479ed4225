/**
 * `npm run manifests`: writes kubernetes/manifests, which is what the chart gives with its own values.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { MANIFESTS_FOLDER, manifestTexts } from "./chart.ts";

for (const [name, text] of manifestTexts()) writeFileSync(join(MANIFESTS_FOLDER, name), text);
