/**
 * The caller's address as it is written everywhere: in the log, in X-Forwarded-For, on the admin port.
 */

/** IPv4 addresses that arrive on a dual-stack socket are written as IPv4. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return "unknown";
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
