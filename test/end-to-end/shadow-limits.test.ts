import { test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { answering, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";

const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

test("limits in shadow let everybody through, and say who would have been refused", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: ["${endpoint.address}"], limits: { requests: 1, pending: 1, mode: shadow }, retries: { attempts: 0 } }`,
  );
  const callers = [];
  const asked = [];
  // One after the other, so that it is known who came first.
  for (let i = 0; i < 3; i++) {
    const caller = await rawClient(t, addresses.outbound.port);
    caller.send(GET.replace("/ ", `/${i} `));
    callers.push(caller);
    const connection = await endpoint.accepted(i);
    await connection.until(/\r\n\r\n$/);
    asked.push(connection);
  }
  t.equal(
    await metric("heddle_permits_held"),
    1,
    "one permit and one place in the queue, as if they were kept to",
  );
  t.equal(await metric("heddle_pending_requests"), 1);
  for (const [i, caller] of callers.entries()) {
    asked[i]!.send(textAnswer("done"));
    t.match(await caller.until(/done$/), /^HTTP\/1.1 200 /);
  }
  t.match(await logged(({ path }) => path === "/2"), { status: 200, shadow: "overflow" });
  t.equal((await logged(({ path }) => path === "/1"))["shadow"], undefined, "its turn came in time");
  t.equal(await metric("heddle_shadow_refusals_total", { cause: "overflow" }), 1);
  t.equal(await metric("heddle_shadow_refusals_total"), 1);
  t.equal(await metric("heddle_permits_held"), 0, "all is given back");
  t.equal(await metric("heddle_pending_requests"), 0);
});

test("shorter time limits are tried without an end to anything, for attempts and for requests", async (t) => {
  const slow = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => setTimeout(() => connection.send(textAnswer("slow")), 40));
  });
  const quick = await rawEndpoint(t, answering(textAnswer("quick")));
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams:
  attempt: { endpoints: ["${slow.address}"], timeouts: { shadowAttempt: 10ms } }
  request: { endpoints: ["${slow.address}"], timeouts: { shadowRequest: 10ms } }
  both: { endpoints: ["${slow.address}"], timeouts: { shadowAttempt: 10ms, shadowRequest: 10ms } }
  quick: { endpoints: ["${quick.address}"], timeouts: { shadowAttempt: 10s, shadowRequest: 15s } }`,
  );
  for (const [upstream, shadow] of [
    ["attempt", "attempt_timeout"],
    ["request", "deadline_exceeded"],
    ["both", "attempt_timeout,deadline_exceeded"],
    ["quick", undefined],
  ]) {
    const caller = await rawClient(t, addresses.outbound.port);
    caller.send(GET.replace("orders", upstream!));
    t.match(await caller.until(/(?:slow|quick)$/), /^HTTP\/1.1 200 /);
    const line = await logged((record) => record["upstream"] === upstream);
    t.equal(line["shadow"], shadow, `${upstream}`);
  }
  t.equal(await metric("heddle_shadow_refusals_total", { cause: "attempt_timeout" }), 2);
  t.equal(await metric("heddle_shadow_refusals_total", { cause: "deadline_exceeded" }), 2);
});

test("an upload that takes its time is not late, in shadow as otherwise", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], timeouts: { shadowRequest: 5s, request: 10s } } }`,
  );
  const caller = await rawClient(t, addresses.outbound.port);
  caller.send("PUT / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\n\r\nha");
  const connection = await endpoint.accepted(0);
  await connection.until(/ha$/);
  // It answers before it has heard the whole.
  connection.send(textAnswer("enough"));
  t.match(await caller.until(/enough$/), /^HTTP\/1.1 200 /);
  t.equal((await logged(() => true))["shadow"], undefined);
});
