/**
 * `heddle inject`: manifests of Kubernetes in, the same with sidecars out.
 *
 * Everything is read and worked out before anything is written, and standard output holds manifests and nothing else, so that it can go
 * straight to `kubectl apply -f -`. What was done is told on standard error.
 */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { text } from "node:stream/consumers";
import {
  type ManifestFault,
  type ManifestResult,
  type ObjectReport,
  processManifests,
  type Work,
} from "../kubernetes/index.ts";
import { type Arguments, UsageError } from "./command.ts";
import { injectOptions } from "./inject-options.ts";

const MANIFEST = /\.(?:ya?ml|json)$/;
const STANDARD_INPUT = "-";

/** @returns 0 when it is done, 1 when a manifest is at fault or cannot be read; nothing is written then */
export async function inject({ options, words }: Arguments): Promise<number> {
  const work = workOf(options);
  const sources = [...(typeof options["file"] === "string" ? [options["file"]] : []), ...words];
  if (sources.length === 0) throw new UsageError("expected -f with a file, a folder or - for standard input");
  const output = options["output"];
  let files: readonly Manifest[];
  try {
    files = (await Promise.all(sources.map(readSource))).flat();
  } catch (thrown) {
    process.stderr.write(`heddle: ${(thrown as Error).message}\n`);
    return 1;
  }
  if (typeof output === "string") {
    const places = new Set<string>();
    const shared = files.find(({ place }) => places.size === places.add(place).size);
    if (shared !== undefined) {
      tell([
        `heddle: expected a name of its own for each file in ${output}, got ${shared.place} twice; nothing is written`,
      ]);
      return 1;
    }
  }
  const results = files.map((file) => ({ file, result: processManifests(file.text, work) }));
  const faults = results.flatMap(({ file, result }) =>
    result.faults.map((fault) => faultLine(file.name, fault)),
  );
  if (faults.length > 0) {
    tell([...faults, "heddle: nothing is written"]);
    return 1;
  }
  tell(
    results.flatMap(({ file, result }) => result.reports.flatMap((object) => objectLines(file.name, object))),
  );
  try {
    if (typeof output === "string") await writeFolder(output, results);
    else await writeOut(stream(results.map(({ result }) => result.text!)));
    return 0;
  } catch (thrown) {
    tell([`heddle: not everything is written: ${(thrown as Error).message}`]);
    return 1;
  }
}

function workOf(options: Arguments["options"]): Work {
  if (options["uninject"] === true) return "uninject";
  return { inject: injectOptions(options) };
}

interface Manifest {
  /** For messages. */
  readonly name: string;
  /** Its place in the output folder. */
  readonly place: string;
  readonly text: string;
}

/** @throws Error when something cannot be read */
async function readSource(source: string): Promise<readonly Manifest[]> {
  if (source === STANDARD_INPUT)
    return [{ name: "standard input", place: "standard-input.yaml", text: await text(process.stdin) }];
  if (!(await stat(source)).isDirectory())
    return [{ name: source, place: relative(dirname(source), source), text: await readFile(source, "utf8") }];
  const paths = (await manifestsIn(source)).toSorted();
  if (paths.length === 0)
    throw new Error(`expected manifests (*.yaml, *.yml, *.json) in ${source}, got none`);
  return Promise.all(
    paths.map(async (path) => ({
      name: path,
      place: relative(source, path),
      text: await readFile(path, "utf8"),
    })),
  );
}

/** A link to a file is one, as for kubectl; a link to a folder is not followed, as it may lead in a circle (Node's own recursion follows it). */
async function manifestsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return manifestsIn(path);
    if (!MANIFEST.test(entry.name)) return [];
    return entry.isFile() || (entry.isSymbolicLink() && (await stat(path)).isFile()) ? [path] : [];
  });
  return (await Promise.all(found)).flat();
}

interface Done {
  readonly file: Manifest;
  readonly result: ManifestResult;
}

function tell(lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${line}\n`).join(""));
}

function faultLine(name: string, { line, column, document, object, path, message }: ManifestFault): string {
  const what = [`document ${document}`, object].filter((part) => part !== "").join(", ");
  return [`${name}:${line}:${column}`, what, path, message].filter((part) => part !== "").join("  ");
}

function objectLines(name: string, { kind, name: own, outcome, reason, warnings }: ObjectReport): string[] {
  const done = reason === undefined ? outcome : `${outcome}: ${reason}`;
  return [
    `${name}  ${kind} ${own}  ${done}`,
    ...warnings.map((warning) => `${name}  ${kind} ${own}  warning: ${warning}`),
  ];
}

/** Several texts as one stream of documents; one alone stays as it is. */
function stream(texts: readonly string[]): string {
  return texts.reduce((all, next) => {
    if (all === "") return next;
    const begins = /^(?:\uFEFF)?(?:\s*#[^\n]*\n|\s*\n)*(?:---|%)/.test(next);
    return `${all}${all.endsWith("\n") ? "" : "\n"}${begins ? "" : "---\n"}${next}`;
  }, "");
}

/** @throws Error when whoever reads has gone, as `head` does */
async function writeOut(text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  process.stdout.on("error", reject);
  process.stdout.write(text, (err) => (err ? reject(err) : resolve()));
  await promise;
}

async function writeFolder(folder: string, results: readonly Done[]): Promise<void> {
  for (const { file, result } of results) {
    const path = join(folder, file.place);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, result.text!);
  }
}
