/**
 * Whether a port of the loopback can be had now: it is opened and closed again. Nothing is held, so somebody else may take it
 * meanwhile; a command that would rather have a usual port asks here, and falls back to any.
 */
import { once } from "node:events";
import { createServer } from "node:net";

export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
