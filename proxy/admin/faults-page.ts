/**
 * Faults for testing at the admin port: shown, added with an end, and ended.
 *
 * They are added only where `admin.faults` allows it: whoever can make this machine send a request to loopback could otherwise harm
 * every call of its app.
 */
import { type AddedFault, type Config, parseFault } from "../../config/index.ts";
import { type FaultBook, routeNames } from "../fault-book.ts";
import { unknownName } from "./unknown-name.ts";

export interface FaultSubject {
  readonly config: Config;
  /** Names that lead somewhere, or will when they are called. */
  readonly names: readonly string[];
  readonly faults: Pick<FaultBook, "list" | "add" | "end">;
}

/** What is answered: a status, and a value for JSON or a text. */
export interface FaultsAnswer {
  readonly status: number;
  readonly said: string | object;
}

/** @param text a body in JSON; without one, the query says it */
export function addFault({ config, faults, names }: FaultSubject, url: URL, text: string): FaultsAnswer {
  if (!config.admin.faults)
    return { status: 403, said: "expected admin.faults: true in the configuration, got false" };
  const given = text.trim() === "" ? fromQuery(url.searchParams) : fromJson(text);
  if (given === undefined) return { status: 400, said: "expected a body in JSON, or a query" };
  const parsed = parseFault(given);
  if ("wrong" in parsed) return { status: 400, said: parsed.wrong.join("\n") };
  const unknown = nobodyOf(parsed.fault, routeNames(config), names);
  if (unknown !== undefined) return { status: 404, said: unknown };
  const id = faults.add(parsed.fault);
  if (id === undefined)
    return { status: 409, said: "expected an end in the future and fewer faults, see GET /faults" };
  return { status: 201, said: faults.list().find((fault) => fault.id === id)! };
}

/**
 * Why a fault would hit nobody, if it would not: a name that is misspelt shows nothing, and nothing is what a good fallback shows. A name
 * needs no endpoints, nor to have been called: in the configuration or in the definition of the sidecar it is enough.
 */
function nobodyOf(
  { route, upstream }: AddedFault,
  routes: readonly string[],
  names: readonly string[],
): string | undefined {
  if (route !== undefined && !routes.includes(route)) return unknownName("route", route, routes);
  if (upstream !== undefined && !names.includes(upstream)) return unknownName("upstream", upstream, names);
  return undefined;
}

/** One by `?id=`, or all. */
export function endFaults({ faults }: FaultSubject, url: URL): FaultsAnswer {
  const id = url.searchParams.get("id") ?? undefined;
  const ended = faults.end(id);
  if (id !== undefined && ended === 0)
    return { status: 404, said: `expected the id of a fault that runs, got ${JSON.stringify(id)}` };
  return { status: 200, said: { ended } };
}

/** `header` and `value` stand for those of `match`; a status is a number. */
function fromQuery(query: URLSearchParams): object {
  const { header, value, status, ...rest } = Object.fromEntries(query);
  return {
    ...rest,
    ...(status === undefined ? {} : { status: Number(status) }),
    ...(header === undefined ? {} : { match: { header, ...(value === undefined ? {} : { value }) } }),
  };
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
