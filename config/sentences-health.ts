/**
 * The sentences of the health port.
 */
import { type Sentences, under } from "./sentences-discovery.ts";

export const HEALTH: Sentences = {
  health:
    "A port for the kubelet and its like, which may be reached from elsewhere: it shows /live and /ready, asks the app, and changes nothing.",
  "health.listen": "Where to listen.",
  ...under("health.probes[]", {
    path: "The path of this port that is asked.",
    port: "The port of the app that is asked then.",
    type: "How: HTTP with GET, a connection, or gRPC's health service.",
    target: "The path that the app is asked for.",
    host: "The Host that the app is asked with, in place of its address.",
    service: "The gRPC service to ask about; empty for the server as a whole.",
    timeout: "How long the app may take to answer.",
  }),
  "health.probes":
    "Paths at which the app is asked, and its answer told: 200 when it is well, 503 with the reason when it is not.",
};
