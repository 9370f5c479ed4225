import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { sbomOf } from "../build/sbom/sbom.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const { version, dependencies, devDependencies } = JSON.parse(
  readFileSync(join(ROOT, "package.json"), "utf8"),
);
const { packages: locked } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));

const sbom = sbomOf(ROOT);
const named = new Map(sbom.components.map((component) => [component.name, component]));

test("the bill of materials lists what a user's install has, by version and checksum of the lock file", async (t) => {
  t.match(sbom.metadata.component, { name: "heddle", version, type: "application" });
  const waiting = Object.keys(dependencies);
  const used = new Set<string>();
  for (const name of waiting) {
    if (used.has(name)) continue;
    used.add(name);
    const { version, integrity, dependencies: on = {} } = locked[`node_modules/${name}`];
    const [hash] = named.get(name)!["hashes"] as [{ alg: string; content: string }];
    t.match(named.get(name), { version, type: "library", licenses: [{ license: { id: String } }] }, name);
    t.equal(hash.content, Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex"), name);
    // The list grows while it is walked.
    waiting.push(...Object.keys(on));
  }
  t.ok(used.has("yaml") && used.has("valibot"), "also what a tool of ours uses, too");
  t.same([...named.keys()].sort(), [...used, "node"].sort(), "and nothing else but Node");
  for (const name of Object.keys(devDependencies)) t.notOk(named.has(name), name);
});

test("it lists Node, and the libraries in it under the versions that Node names", async (t) => {
  const node = named.get("node")!;
  t.match(node, { type: "platform", version: process.versions.node });
  const libraries = node["components"] as readonly { readonly name: string; readonly version: string }[];
  for (const name of ["openssl", "v8", "uv", "zlib"])
    t.equal(libraries.find((library) => library.name === name)?.version, process.versions[name], name);
});

test("who depends on whom leads from heddle to every component", async (t) => {
  const on = new Map(sbom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const reached = new Set([`heddle@${version}`]);
  for (const ref of reached) for (const other of on.get(ref)!) reached.add(other);
  t.same(reached.size, sbom.components.length + 1);
});

test("it tells nothing of the machine or the moment: written twice it is the same, without addresses and paths", async (t) => {
  const text = JSON.stringify(sbom);
  t.equal(JSON.stringify(sbomOf(ROOT)), text);
  t.same(new Set(text.match(/https?:\/\/[^/"]+/g)), new Set(["http://cyclonedx.org"]), "that of its form");
  t.notMatch(text, ROOT);
  t.notMatch(text, /timestamp|serialNumber|resolved/);
});
