/**
 * Faults for testing at the admin port: shown, added with an end, and ended.
 *
 * They are added only where `admin.faults` allows it: whoever can make this machine send a request to loopback could otherwise harm
 * every call of its app.
 */
import { parseFault } from "../../config/index.ts";
import type { FaultBook } from "../fault-book.ts";

export interface FaultSubject {
  readonly config: { readonly admin: { readonly faults: boolean } };
  readonly faults: Pick<FaultBook, "list" | "add" | "end">;
}

/** What is answered: a status, and a value for JSON or a text. */
export interface FaultsAnswer {
  readonly status: number;
  readonly said: string | object;
}

/** @param text a body in JSON; without one, the query says it */
export function addFault({ config, faults }: FaultSubject, url: URL, text: string): FaultsAnswer {
  if (!config.admin.faults)
    return { status: 403, said: "expected admin.faults: true in the configuration, got false" };
  const given = text.trim() === "" ? fromQuery(url.searchParams) : fromJson(text);
  if (given === undefined) return { status: 400, said: "expected a body in JSON, or a query" };
  const parsed = parseFault(given);
  if ("wrong" in parsed) return { status: 400, said: parsed.wrong.join("\n") };
  const id = faults.add(parsed.fault);
  if (id === undefined)
    return { status: 409, said: "expected an end in the future and fewer faults, see GET /faults" };
  return { status: 201, said: faults.list().find((fault) => fault.id === id)! };
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
