/**
 * A little steady traffic, so that the demo has something to show before anyone calls it.
 */
import { Agent, get } from "node:http";

export interface Traffic {
  readonly sent: number;
  readonly succeeded: number;
  readonly failed: number;
  stop(): void;
}

/** @param rate requests per second, 0 for none */
export function startTraffic(port: number, rate: number): Traffic {
  const agent = new Agent({ keepAlive: true });
  const counts = { sent: 0, succeeded: 0, failed: 0 };
  const send = () => {
    counts.sent++;
    get({ host: "127.0.0.1", port, path: "/", agent }, (answer) => {
      answer.resume();
      if (answer.statusCode === 200) counts.succeeded++;
      else counts.failed++;
    }).on("error", () => counts.failed++);
  };
  const timer = rate > 0 ? setInterval(send, 1000 / rate) : undefined;
  return {
    get sent() {
      return counts.sent;
    },
    get succeeded() {
      return counts.succeeded;
    },
    get failed() {
      return counts.failed;
    },
    stop() {
      clearInterval(timer);
      agent.destroy();
    },
  };
}
