/**
 * The parts of a request's target: `/path?query`.
 *
 * Cut as text and not parsed as a URL: what stands in it is passed on as it came, and a URL would normalise it.
 */

/** The path, without the query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** The first parameter of that name, decoded as forms are; undefined when there is none. */
export function queryParameter(target: string, name: string): string | undefined {
  const query = target.indexOf("?");
  return query === -1 ? undefined : (parameters(target.slice(query + 1)).get(name) ?? undefined);
}

let lastQuery = "";
let lastParameters = new URLSearchParams();

/** Once for all who ask about a request: a caller may send thousands of parameters. */
function parameters(query: string): URLSearchParams {
  if (query !== lastQuery) {
    // With a sign before it, as a question mark at the beginning would be left out.
    lastParameters = new URLSearchParams(`&${query}`);
    lastQuery = query;
  }
  return lastParameters;
}
