/**
 * What the sidecar's thread and a worker say to each other. Plain values only: each is copied.
 */
import type { Endpoint } from "../../core/index.ts";
import type { Inheriting, RunningFault } from "../../resilience/index.ts";
import type { LogLevel } from "../../telemetry/index.ts";
import type { PlaneAddresses } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";
import type { OverloadOptions } from "../overload.ts";
import type { Leads, ListenerPlan, NamePolicies, Plan } from "../plan.ts";
import type { PlaneReport } from "../report.ts";
import type { BreakerCommand } from "../route-breakers.ts";
import type { Situation } from "../upstream/index.ts";
import type { WayIn } from "../way-in.ts";

/** What a worker is given when it is made. */
export interface WorkerSettings {
  readonly accessLog: boolean;
  readonly overload: OverloadOptions | undefined;
  readonly wayIn: WayIn;
  readonly inheritDeadlines: Inheriting;
  readonly mayInject: boolean;
  readonly policies: NamePolicies;
  readonly logLevel: LogLevel;
  readonly retriesEnabled: boolean;
  /** Shared by all workers: requests that the app has in flight, by the number of the worker. */
  readonly inFlight: Int32Array;
  readonly number: number;
}

type EndpointsByKey = Readonly<Record<string, readonly Endpoint[]>>;

export type ToWorker =
  | { readonly say: "start"; readonly plan: Plan; readonly at: PlaneAddresses }
  | {
      readonly say: "lead";
      readonly name: string;
      readonly leads: Leads | undefined;
      readonly endpoints: EndpointsByKey;
    }
  | {
      readonly say: "listen";
      readonly question: number;
      readonly name: string;
      readonly plan: ListenerPlan | undefined;
      readonly at: ListenAddress | undefined;
    }
  | { readonly say: "update"; readonly key: string; readonly endpoints: readonly Endpoint[] }
  | { readonly say: "situate"; readonly situation: Situation }
  | { readonly say: "force"; readonly command: BreakerCommand }
  | { readonly say: "faults"; readonly faults: readonly RunningFault[] }
  | { readonly say: "report"; readonly question: number }
  /** `endsApp`: the app's end is waited for, and told. */
  | { readonly say: "drain"; readonly graceMs: number; readonly endsApp: boolean }
  | { readonly say: "deregistered" }
  | { readonly say: "appEnded" }
  | { readonly say: "destroy" }
  | { readonly say: "retries"; readonly enabled: boolean }
  | { readonly say: "logLevel"; readonly level: LogLevel };

export type FromWorker =
  | { readonly say: "started"; readonly at: PlaneAddresses }
  | { readonly say: "failed"; readonly message: string }
  | { readonly say: "wanted"; readonly name: string }
  | {
      readonly say: "listening";
      readonly question: number;
      readonly at: ListenAddress | undefined;
      /** Why the port could not be opened. */
      readonly fault?: string;
    }
  | { readonly say: "report"; readonly question: number; readonly report: PlaneReport }
  /** Nothing more will be asked of the app by this worker. */
  | { readonly say: "letGo" }
  | { readonly say: "drained" }
  | {
      readonly say: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly facts: object;
      readonly message: string;
    }
  | { readonly say: "access"; readonly lines: string };
