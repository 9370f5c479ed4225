/**
 * A page of a running sidecar's admin port, from the address that was given.
 */
import { UsageError } from "./command.ts";

/** @throws UsageError when the address is none */
export function adminUrl(given: unknown, page: string): URL {
  const admin = String(given);
  const url = URL.parse(`http://${admin}${page}`);
  if (url === null || url.host !== admin)
    throw new UsageError(
      `--admin: expected an address such as 127.0.0.1:15000, got ${JSON.stringify(admin)}`,
    );
  return url;
}
