/**
 * A fault as it comes to the admin port: the same words as in the file, with the same complaints about what is wrong.
 */
import * as v from "valibot";
import type { Direction } from "../core/index.ts";
import { formatPath } from "../discovery/index.ts";
import { addedFault, type FaultConfig, faultProblems } from "./shape-fault.ts";

export interface AddedFault extends FaultConfig {
  /** On the way out, unless told. */
  readonly direction?: Direction | undefined;
  readonly route?: string | undefined;
  readonly upstream?: string | undefined;
}

/** The fault, or what is wrong with it. */
export function parseFault(given: unknown): { readonly fault: AddedFault } | { readonly wrong: string[] } {
  const result = v.safeParse(addedFault, given);
  if (!result.success)
    return {
      wrong: result.issues.map((issue) => {
        const at = formatPath((issue.path ?? []).map(({ key }) => key as string));
        // Of what is unknown, valibot expects "never".
        if (issue.expected === "never") return `${at}: unknown setting`;
        return `${at === "" ? "" : `${at}: `}expected ${issue.message}`;
      }),
    };
  const fault = result.output;
  const wrong = faultProblems(fault).map(({ setting, message }) => `${setting}: ${message}`);
  const { direction, route, upstream, match } = fault;
  if (direction === "inbound" && (route !== undefined || upstream !== undefined))
    wrong.push("direction: expected no route and no upstream with inbound, where there are none; got one");
  // Inbound, everything is what goes to one app.
  if (direction !== "inbound" && route === undefined && upstream === undefined && match === undefined)
    wrong.push("expected a route, an upstream or a match, so that not everything is hit; got none");
  return wrong.length === 0 ? { fault } : { wrong };
}
