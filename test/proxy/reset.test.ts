import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type Test, test } from "tap";
import { reset } from "../../proxy/reset.ts";

/** Both ends of one connection; nobody reads at the far one yet. */
async function pair(t: Test): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const accepted = once(server, "connection");
  const { port } = server.address() as AddressInfo;
  const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).pause();
  t.teardown(() => far.destroy());
  const [[near]] = (await Promise.all([accepted, once(far, "connect")])) as [[Socket], unknown];
  t.teardown(() => near.destroy());
  return { near, far };
}

/** How a connection ends for who reads it: the code of its error, or that it was told an end. */
function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? ""));
    socket.once("end", () => resolve("an end"));
    socket.resume();
  });
}

test("a reset is one where an end waits behind bytes that have not been taken", async (t) => {
  const { near, far } = await pair(t);
  // More than the kernel takes.
  near.write(Buffer.alloc(32 * 1024 * 1024));
  near.end("the last of many");
  const closed = once(near, "close");
  reset(near);
  await closed;
  t.equal(await ending(far), "ECONNRESET");
});

test("one whose end is on its way is closed without a fault", async (t) => {
  const { near, far } = await pair(t);
  near.on("error", (error) => t.fail(error.message));
  near.end("all");
  await once(near, "prefinish");
  const closed = once(near, "close");
  reset(near);
  await closed;
  t.match(await ending(far), /^(an end|ECONNRESET)$/);
});
