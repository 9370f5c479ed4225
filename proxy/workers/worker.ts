/**
 * The program of a worker thread: one data plane that does what it is told.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type ProcessLog, relayedLog } from "../../telemetry/index.ts";
import { DataPlane } from "../data-plane.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./messages.ts";

const port = parentPort!;
const { logLevel, retriesEnabled, inFlight, number, ...settings } = workerData as WorkerSettings;
const say = (message: FromWorker) => port.postMessage(message);

const log: ProcessLog = relayedLog(logLevel, {
  record: (level, facts, message) => say({ say: "log", level, facts, message }),
  access: (lines) => say({ say: "access", lines }),
});
const plane = new DataPlane(
  {
    ...settings,
    retrySwitch: { enabled: retriesEnabled },
    counts: { inFlight, place: number },
    onWanted: (name) => say({ say: "wanted", name }),
  },
  log,
);
/** A listener that is closed while the first ones are being opened must not be opened after that. */
let started: Promise<void> = Promise.resolve();
const deregistered = Promise.withResolvers<void>();
const appEnded = Promise.withResolvers<void>();

// As in the sidecar's own thread: a fault that no layer caught must be seen, and must not take the traffic with it.
process.on("uncaughtException", (err) => log.log.error({ err }, "a fault outside of any request"));
process.on("unhandledRejection", (err) => log.log.error({ err }, "a rejection that nobody awaited"));

port.on("message", (message: ToWorker) => {
  switch (message.say) {
    case "start":
      started = plane.start(message.plan, message.at).then(
        (at) => say({ say: "started", at }),
        (thrown: Error) => say({ say: "failed", message: thrown.message }),
      );
      break;
    case "lead":
      plane.lead(message.name, message.leads, message.endpoints);
      break;
    case "listen": {
      const { question } = message;
      started
        .then(() => plane.listen(message.name, message.plan, message.at))
        .then(
          (at) => say({ say: "listening", question, at }),
          (thrown: Error) => say({ say: "listening", question, at: undefined, fault: thrown.message }),
        );
      break;
    }
    case "update":
      plane.update(message.key, message.endpoints);
      break;
    case "situate":
      plane.situate(message.situation);
      break;
    case "force":
      plane.force(message.command);
      break;
    case "faults":
      plane.injectFaults(message.faults);
      break;
    case "report":
      void plane.report().then((report) => say({ say: "report", question: message.question, report }));
      break;
    case "drain":
      void plane
        .drain({
          graceMs: message.graceMs,
          deregistered: deregistered.promise,
          app: message.endsApp ? { letGo: () => say({ say: "letGo" }), ended: appEnded.promise } : undefined,
        })
        .then(() => say({ say: "drained" }));
      break;
    case "appEnded":
      appEnded.resolve();
      break;
    case "deregistered":
      deregistered.resolve();
      break;
    case "destroy":
      void end();
      break;
    case "retries":
      plane.setRetries(message.enabled);
      break;
    case "logLevel":
      log.level = message.level;
      break;
  }
});

async function end(): Promise<void> {
  await plane.destroy();
  await log.flush();
  port.close();
}
