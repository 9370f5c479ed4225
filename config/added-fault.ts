/**
 * A fault as it comes to the admin port: the same words as in the file, with the same complaints about what is wrong.
 */
import * as v from "valibot";
import { formatPath } from "./issues.ts";
import { addedFault, type FaultConfig, faultProblems } from "./shape-fault.ts";

export interface AddedFault extends FaultConfig {
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
  if (fault.route === undefined && fault.upstream === undefined && fault.match === undefined)
    wrong.push("expected a route, an upstream or a match, so that not everything is hit; got none");
  return wrong.length === 0 ? { fault } : { wrong };
}
