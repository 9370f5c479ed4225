/**
 * An app of known capacity, in a process of its own (apps.ts starts it): so many workers, each of which takes for a
 * request what chance says, and a line in front of them for whoever finds none free.
 *
 * Work is a timer, so what the app can do does not depend on how busy the machine is. The line has no end, and those who
 * have gone are served like those who wait: an app that does neither of the two better is the usual one.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exponential } from "../simulate/distributions.ts";
import { STREAMS, sfc32 } from "../simulate/random.ts";
import type { Work } from "./contenders.ts";

const SEED = 1;

const { workers, meanMs } = JSON.parse(process.argv[2]!) as Work;
const random = sfc32(SEED, STREAMS.services);
const service = exponential(meanMs);
const line: ServerResponse[] = [];
let free = workers;

const server = createServer((_, response) => {
  if (free === 0) line.push(response);
  else work(response);
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
// Not left behind, however the bench ends.
process.on("disconnect", () => process.exit());
process.send!((server.address() as AddressInfo).port);

function work(response: ServerResponse): void {
  free--;
  setTimeout(
    () => {
      free++;
      response.end("fine\n");
      const next = line.shift();
      if (next !== undefined) work(next);
    },
    // In whole milliseconds, as timers count them.
    Math.round(service.draw(random)),
  );
}
