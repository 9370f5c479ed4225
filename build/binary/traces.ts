/**
 * Stack traces of the single executable, told in the files and lines of the sources.
 *
 * Node's --enable-source-maps would read the maps at the start; here that is left until a trace is read for the first time, which
 * a sidecar in good health never does.
 */
import { SourceMap } from "node:module";

/** The bundle in which the executable begins; the other one is that of the workers. */
export const PROGRAM = "heddle.js";

/** The asset that is the map of a bundle. */
export const mapAsset = (bundle: string): string => `${bundle}.map`;

/** @param bundle the one that this thread runs */
export function readTraces(bundle: string): void {
  let map: SourceMap | undefined;
  const frames = (sites: readonly NodeJS.CallSite[]) => {
    map ??= new SourceMap(
      JSON.parse(process.getBuiltinModule("node:sea").getAsset(mapAsset(bundle), "utf8")),
    );
    return sites.map((site) => `\n    at ${inSources(site, map!)}`).join("");
  };
  Error.prepareStackTrace = (error, sites) => {
    try {
      return `${error}${frames(sites)}`;
    } catch {
      // Whatever is thrown here would hide what the trace is about.
      return `${error}${sites.map((site) => `\n    at ${site}`).join("")}`;
    }
  };
}

function inSources(site: NodeJS.CallSite, map: SourceMap): string {
  const [file, line, column] = [site.getFileName(), site.getLineNumber(), site.getColumnNumber()];
  const isOurs = file === PROGRAM || file === "[worker eval]";
  if (!isOurs || line === null || column === null) return String(site);
  const entry = map.findEntry(line - 1, column - 1);
  if (!("originalSource" in entry)) return String(site);
  const place = `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  return String(site).replace(`${file}:${line}:${column}`, place);
}
