/**
 * One thing that is wrong with a configuration file, with its place, and all of them as one error.
 */
export interface ConfigFault {
  /** Where it is, when that is not the file itself but what is laid over it. */
  readonly source?: string;
  /** From 1; the place of the nearest thing that exists when the fault is that something is missing. */
  readonly line: number;
  readonly column: number;
  /** `upstreams.orders.timeouts.connect`, `routes[2].to`; empty for the file as a whole. */
  readonly path: string;
  /** What was expected, and what came. */
  readonly message: string;
}

/** One line for people and editors: `file:line:column  path  message`. */
export function formatFault(file: string, fault: ConfigFault): string {
  const place = `${fault.source ?? file}:${fault.line}:${fault.column}`;
  return fault.path === "" ? `${place}  ${fault.message}` : `${place}  ${fault.path}  ${fault.message}`;
}

export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[];

  constructor(file: string, faults: readonly ConfigFault[]) {
    super(faults.map((fault) => formatFault(file, fault)).join("\n"));
    this.name = "ConfigError";
    this.faults = faults;
  }
}
