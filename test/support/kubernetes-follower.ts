/**
 * A source of EndpointSlices that is followed: its sockets are real, its rests take no time, and what it says is noted
 * and can be awaited.
 */
import type { Test } from "tap";
import { KubernetesApi } from "../../discovery/kubernetes/api.ts";
import { KubernetesSource } from "../../discovery/kubernetes/source.ts";
import { Heard, KubernetesApiServer, RestlessClock, slice } from "./kubernetes-api.ts";
import { seededRandom } from "./seeded-random.ts";
import { type LogRecord, logInto } from "./sidecar.ts";

interface Given {
  readonly server?: KubernetesApiServer;
  readonly seed?: number;
  readonly port?: string | number;
  readonly tokenFile?: string;
  readonly caFile?: string;
}

/** A source that has been started, against a server with one slice unless one is given. */
export async function followed(t: Test, given: Given = {}) {
  const server = given.server ?? (await new KubernetesApiServer().start(t));
  if (given.server === undefined) server.put(slice("orders-a", ["10.0.0.1", "10.0.0.2"]));
  const clock = new RestlessClock();
  const records: LogRecord[] = [];
  const heard = new Heard();
  server.on("asked", heard.touch);
  const api = new KubernetesApi(
    { server: server.url, tokenFile: given.tokenFile, caFile: given.caFile },
    clock,
  );
  const { log } = logInto(records);
  const source = new KubernetesSource(
    { service: "orders", namespace: "shop", port: given.port },
    { api, clock, random: seededRandom(given.seed ?? 1), log },
  );
  source.start(heard);
  t.teardown(() => source.stop());
  const watched = (times: number) => heard.until(() => server.count("watch") >= times);
  return { server, clock, records, heard, source, watched };
}
