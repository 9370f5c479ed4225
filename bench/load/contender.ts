/**
 * What the bench has to know of a proxy to start it, to see that it is ready, and to measure it.
 */
export interface Setting {
  readonly port: number;
  readonly adminPort: number;
  readonly upstreamPorts: readonly number[];
  readonly connections: number;
  /** Where the contender may write; its configuration file is there already, under its id. */
  readonly folder: string;
  readonly configFile: string;
}

export interface Program {
  readonly name: string;
  readonly debianPackage: string;
}

export interface Contender {
  readonly id: string;
  readonly name: string;
  /** A program of the machine without which it cannot run, beside what the bench itself needs. */
  readonly needsProgram?: Program;
  /** A file of this checkout without which it cannot run. */
  readonly needsFile?: string;
  /** Whose CPU time and memory count: all processes, or only those that the first one started. */
  readonly measured: "all processes" | "workers";
  config?(setting: Setting): string;
  command(setting: Setting): readonly string[];
  /** Answers 200 once the contender is ready for requests. */
  readyUrl(setting: Setting): string;
}
