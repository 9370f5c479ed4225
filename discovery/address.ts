/**
 * Whether an address that a registry names can be called.
 *
 * A registry takes what it is told. What is neither an address nor a name ends up where it does harm: a NUL is thrown by
 * the socket in the middle of a request, a line break is in every message about it. And "every address" of a machine,
 * where it was registered by mistake, means this machine to whoever connects to it.
 */
import { isIP } from "node:net";

const LONGEST_NAME = 253;
const LABELS = /^(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$/;
/** What a system takes for IPv4 in one of its older spellings, such as 127.1: no name ends like this. */
const ENDS_AS_NUMBER = /(?:^|\.)(?:\d+|0[xX][0-9A-Fa-f]*)\.?$/;
const EVERY_ADDRESS = /^(?:0\.0\.0\.0|[0:]+(?:%.*)?|[0:]*:(?:ffff:)?0\.0\.0\.0)$/i;

export function isCallable(address: string): boolean {
  if (isIP(address) !== 0) return !EVERY_ADDRESS.test(address);
  return address.length <= LONGEST_NAME && LABELS.test(address) && !ENDS_AS_NUMBER.test(address);
}
