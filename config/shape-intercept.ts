/**
 * What may be said of connections that the kernel redirects to this sidecar.
 */
import * as v from "valibot";
import { mappingOf } from "./mapping.ts";
import { address, duration } from "./units.ts";

const MODE = "explicit or transparent";
export const mode = v.optional(v.picklist(["explicit", "transparent"], MODE), "explicit");

const PORT = "a port from 1 to 65535";
const port = v.pipe(
  v.string(PORT),
  v.check((text) => /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535, PORT),
);

/** Of the way out. */
export const intercepted = {
  mode,
  ports: v.optional(
    mappingOf(port, v.picklist(["http", "tcp"], "http or tcp"), "a mapping of ports to protocols"),
    {},
  ),
  detectTimeout: v.optional(duration(), "250ms"),
  unknown: v.optional(v.picklist(["allow", "refuse"], "allow or refuse"), "allow"),
};

/** Of an upstream. */
export const virtualAddresses = v.optional(v.array(address(1), "a list of addresses"), []);
