/**
 * Where a sidecar without a file listens for its app and its operators: on the usual ports, or on any if another sidecar of
 * this machine has them. What peers and apps rely on is in its definition, so that several can stand side by side as those
 * of `consul connect proxy` do.
 */
import { isFree } from "./free-port.ts";

/** The ports that operators know from other meshes. */
export const USUAL_PORTS = { inbound: 15006, outbound: 15001, admin: 15000 } as const;

/** The settings `outbound.listen` and `admin.listen` for ports that are free at the moment. */
export async function usualPorts(): Promise<readonly (readonly [path: readonly string[], value: string])[]> {
  return Promise.all(
    (["outbound", "admin"] as const).map(async (section) => {
      const port = USUAL_PORTS[section];
      const free = await isFree(port);
      return [[section, "listen"], `127.0.0.1:${free ? port : 0}`] as const;
    }),
  );
}
