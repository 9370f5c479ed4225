/**
 * `/breakers`: what breakers do, and an operator's word over it.
 *
 * Forced open means that nobody is sent there, also where nobody else is left: who forces it has seen something that the breaker does
 * not see. Forced closed means that everything passes. Either ends of itself, ten minutes later unless told otherwise: what was
 * forced in an incident at night is not what the next one should find.
 */
import { parseDuration } from "../../config/index.ts";
import type { BreakerView } from "../breaker-view.ts";
import { mergedEndpoints, mergedRouteBreakers, type PlaneReport } from "../report.ts";
import type { BreakerCommand } from "../route-breakers.ts";
import { unknownName } from "./unknown-name.ts";

const STATES = ["open", "closed", "auto"] as const;
const USUAL_FOR_MS = 600_000;

/** What the page needs of the sidecar. */
interface Breakers {
  reports(): Promise<readonly PlaneReport[]>;
  forceBreaker(command: BreakerCommand): void;
}

type NamedView = BreakerView & { readonly endpoint: string };

/** The breakers of all routes, and of the endpoints those that have opened, or of which somebody has decided something. */
export async function breakersView(breakers: Breakers): Promise<unknown> {
  const reports = await breakers.reports();
  const upstreams: Record<string, readonly NamedView[]> = {};
  for (const [key, views] of Object.entries(mergedEndpoints(reports))) {
    const notable = views.flatMap(({ address, breaker, opensForMs, shadow, forced, opened }) =>
      forced === undefined && opened === undefined
        ? []
        : [
            {
              endpoint: address,
              breaker,
              ...(opensForMs === undefined ? {} : { opensForMs }),
              ...(shadow === undefined ? {} : { shadow }),
              ...(forced === undefined ? {} : { forced }),
              ...(opened === undefined ? {} : { opened }),
            },
          ],
    );
    if (notable.length > 0) upstreams[key] = notable;
  }
  return { routes: mergedRouteBreakers(reports), upstreams };
}

/** What became of an operator's word: a page to show, or a refusal with its status. */
export type Forcing = { readonly view: unknown } | { readonly status: 400 | 404; readonly refusal: string };

/** Does what `?upstream=&endpoint=` or `?route=`, with `&state=` and `&for=`, say. All workers know when it returns. */
export async function forceBreakers(breakers: Breakers, query: URLSearchParams): Promise<Forcing> {
  const state = STATES.find((known) => known === query.get("state"));
  if (state === undefined)
    return refused(`expected &state= one of ${STATES.join(", ")}, got ${said(query.get("state"))}`);
  const text = query.get("for");
  const forMs = text === null ? USUAL_FOR_MS : parseDuration(text);
  if (forMs === undefined)
    return refused(`expected &for= a duration up to 24h, such as 10m, got ${said(text)}`);
  const found = targets(await breakers.reports(), query);
  if (!Array.isArray(found)) return found;
  for (const of of found) breakers.forceBreaker({ of, state, forMs });
  return { view: await breakersView(breakers) };
}

/** Whose breakers are meant. */
function targets(
  reports: readonly PlaneReport[],
  query: URLSearchParams,
): BreakerCommand["of"][] | Extract<Forcing, { readonly status: number }> {
  const [route, upstream, endpoint] = ["route", "upstream", "endpoint"].map((name) => query.get(name));
  if ((route === null) === (upstream === null))
    return refused("expected ?upstream=, perhaps with &endpoint=, or ?route=, one of the two");
  if (route != null) {
    const routes = mergedRouteBreakers(reports).map((view) => view.route);
    return routes.includes(route) ? [{ route }] : unknown("route with a breaker", route, routes);
  }
  const views = mergedEndpoints(reports);
  if (!Object.hasOwn(views, upstream!)) return unknown("upstream", upstream!, Object.keys(views));
  const addresses = views[upstream!]!.map(({ address }) => address);
  if (endpoint == null) return addresses.map((address) => ({ upstream: upstream!, endpoint: address }));
  if (addresses.includes(endpoint)) return [{ upstream: upstream!, endpoint }];
  return unknown(`endpoint of ${upstream}`, endpoint, addresses);
}

function refused(refusal: string): { readonly status: 400; readonly refusal: string } {
  return { status: 400, refusal };
}

function unknown(what: string, name: string, known: readonly string[]): { status: 404; refusal: string } {
  return { status: 404, refusal: unknownName(what, name, known) };
}

function said(value: string | null | undefined): string {
  return JSON.stringify(value ?? null);
}
