/**
 * Changes a request on its way to an upstream as a route asks for: the beginning of its path, and header fields.
 *
 * Outermost of the upstream's stack, so that what is sent again is what was sent before.
 */
import {
  type Exchange,
  type Handler,
  type HeaderPairs,
  type Layer,
  removeHeader,
  setHeader,
} from "../core/index.ts";

/** Each would be one field on the wire: whoever makes this has seen to it. */
export interface HeaderChanges {
  /** Names in lower case. Done first. */
  readonly remove?: readonly string[] | undefined;
  readonly add?: Readonly<Record<string, string>> | undefined;
  readonly set?: Readonly<Record<string, string>> | undefined;
}

export interface Rewrite {
  /** What the path begins with, and what stands there instead. */
  readonly prefix?:
    | { readonly from: string; readonly to: string; readonly ignoreCase?: boolean | undefined }
    | undefined;
  /** One after the other. */
  readonly request?: readonly HeaderChanges[] | undefined;
  readonly response?: readonly HeaderChanges[] | undefined;
}

export function rewrite({ prefix, request, response }: Rewrite): Layer {
  return {
    name: "rewrite",
    wrap(next: Handler): Handler {
      const changed = (exchange: Exchange) => {
        if (prefix !== undefined) exchange.target = rewritten(exchange.target, prefix);
        if (request !== undefined) change(exchange.headers, request);
        return exchange;
      };
      if (response === undefined) return (exchange) => next(changed(exchange));
      return async (exchange) => {
        const answer = await next(changed(exchange));
        change(answer.headers as HeaderPairs, response);
        return answer;
      };
    },
  };
}

/** Always a path, with one `/` where the two meet: `//host` at the beginning is read as a host by many. */
function rewritten(target: string, { from, to, ignoreCase }: NonNullable<Rewrite["prefix"]>): string {
  const start = target.slice(0, from.length);
  if (start !== from && !(ignoreCase === true && start.toLowerCase() === from.toLowerCase())) return target;
  const rest = target.slice(from.length);
  const whole = to.endsWith("/") && rest.startsWith("/") ? to + rest.slice(1) : to + rest;
  return whole.startsWith("/") ? whole : `/${whole}`;
}

/** In the order in which Envoy does it. */
function change(headers: HeaderPairs, changes: readonly HeaderChanges[]): void {
  for (const { remove, add, set } of changes) {
    for (const name of remove ?? []) removeHeader(headers, name);
    for (const [name, value] of Object.entries(add ?? {})) headers.push(name, value);
    for (const [name, value] of Object.entries(set ?? {})) setHeader(headers, name, value);
  }
}
