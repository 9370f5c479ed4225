/**
 * Ports for processes that cannot be told to take any, and to say which: Consul, nginx, or one that comes back on the port it had.
 *
 * They are from below the range that the system hands to outgoing connections: those are busy while a test runs, and one of them could
 * take the port of a process that is just being started.
 */
import { isFree } from "../../cli/free-port.ts";

/** Loopback ports that are free now, and that no outgoing connection will take. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 16_000 + Math.floor(Math.random() * 16_000);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}
