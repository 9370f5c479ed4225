// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are what is tested here
import { test } from "tap";
import { type ConfigError, parseConfig } from "../../config/index.ts";

const FILE = `service: { name: web, port: 3000 }
inbound:
  listen: 0.0.0.0:15006
  maxConnections: 10
upstreams:
  orders: { endpoints: [127.0.0.1:1, 127.0.0.1:2] }
`;

const layered = (file: string, over: string) =>
  parseConfig(file, "heddle.yaml", { PORT: "15021" }, [], { text: over, name: "HEDDLE_CONFIG" });

function said(file: string, over: string): string[] {
  try {
    layered(file, over);
    return [];
  } catch (thrown) {
    return (thrown as ConfigError).message.split("\n");
  }
}

test("what is laid over a file goes first: mappings are put together, anything else is replaced", async (t) => {
  const config = layered(
    FILE,
    "inbound: { listen: 0.0.0.0:20006 }\nhealth: { listen: '0.0.0.0:${PORT}' }\nupstreams: { orders: { endpoints: [127.0.0.1:3] } }",
  );
  t.same(config.inbound.listener.listen, { host: "0.0.0.0", port: 20_006 });
  t.equal(config.inbound.listener.maxConnections, 10);
  t.same(config.health?.listen, { host: "0.0.0.0", port: 15_021 });
  t.match(config.service, { name: "web", port: 3000 });
  t.same(
    config.upstreams["orders"]?.endpoints?.map(({ port }) => port),
    [3],
  );
});

test("each fault has the place where the value was written", async (t) => {
  t.same(said(FILE, "inbound: { lisen: 0.0.0.0:1 }\nadmin:\n  listen: nowhere"), [
    "HEDDLE_CONFIG:1:12  inbound.lisen  unknown setting; did you mean listen?",
    'HEDDLE_CONFIG:3:11  admin.listen  expected an address and a port from 0 (any that is free) to 65535, such as 127.0.0.1:15001 or [::1]:15001, got "nowhere"',
  ]);
  t.same(said(`${FILE}workers: many\n`, "health: {}"), [
    'heddle.yaml:7:10  workers  expected a whole number from 1 to 64, got "many"',
  ]);
  t.same(said(FILE, "health: { listen: 127.0.0.1:15006 }"), [
    "HEDDLE_CONFIG:1:19  health.listen  expected a port of its own, got 15006, which inbound.listen has",
  ]);
  t.match(said(FILE, "a: ["), [/^HEDDLE_CONFIG:1:/]);
  t.match(said("a: [", "health: {}"), [/^heddle\.yaml:1:/]);
});
