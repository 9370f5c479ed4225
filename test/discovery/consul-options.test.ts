import { test } from "tap";
import {
  type ConsulOptions,
  type ConsulSettings,
  isConsulAddress,
  withEnvironment,
} from "../../discovery/consul/options.ts";

const NOTHING: ConsulSettings = { tls: {}, waitMs: 60_000 };

type Environment = Readonly<Record<string, string>>;

function read(environment: Environment, given: Partial<ConsulSettings> = {}) {
  return withEnvironment({ ...NOTHING, ...given }, environment);
}

test("without settings and variables it is the agent of this machine", async (t) => {
  const { options, faults } = read({ HOME: "/root", CONSUL_HTTP_ADDR: "", CONSUL_HTTP_TOKEN: "" });
  t.equal(options.address, "http://127.0.0.1:8500");
  t.same(faults, []);
  const { tls, waitMs, address: _, ...others } = options;
  t.equal(waitMs, 60_000);
  for (const [name, value] of Object.entries({ ...others, ...tls })) t.equal(value, undefined, name);
});

test("CONSUL_HTTP_ADDR is read in all its forms, and CONSUL_HTTP_SSL decides where it names no scheme", async (t) => {
  const table: readonly [addr: string, plain: string, ssl: string][] = [
    ["consul:8500", "http://consul:8500", "https://consul:8500"],
    ["consul", "http://consul", "https://consul"],
    ["10.0.0.1:8500", "http://10.0.0.1:8500", "https://10.0.0.1:8500"],
    ["[::1]:8500", "http://[::1]:8500", "https://[::1]:8500"],
    ["consul:8500/", "http://consul:8500", "https://consul:8500"],
    // TLS that was asked for is never given up again, as with Consul's own tools.
    ["http://consul:8500", "http://consul:8500", "https://consul:8500"],
    ["http://consul:8500/", "http://consul:8500", "https://consul:8500"],
    ["https://consul:8501", "https://consul:8501", "https://consul:8501"],
    ["unix:///run/consul.sock", "unix:///run/consul.sock", "unix:///run/consul.sock"],
  ];
  for (const [addr, plain, ssl] of table) {
    const at = (environment: Environment) => {
      const { options, faults } = read({ CONSUL_HTTP_ADDR: addr, ...environment });
      t.same(faults, []);
      return options.address;
    };
    t.equal(at({}), plain, addr);
    for (const no of ["", "false", "0", "f", "FALSE"])
      t.equal(at({ CONSUL_HTTP_SSL: no }), plain, `${addr}, ${no}`);
    for (const yes of ["true", "1", "t", "True"])
      t.equal(at({ CONSUL_HTTP_SSL: yes }), ssl, `${addr}, ${yes}`);
  }
  t.equal(read({ CONSUL_HTTP_SSL: "true" }).options.address, "https://127.0.0.1:8500", "also of the default");
});

test("an address that nobody can have is said with the variable, and the default stands in", async (t) => {
  const bad = [
    "ftp://consul:21",
    "http://",
    "consul:70000",
    "consul:8500/v1",
    "http://user:password@consul:8500",
    "http://consul:8500?token=x",
    "unix://run/consul.sock",
    "unix://",
    "con sul:8500",
    "[::1:8500",
  ];
  for (const addr of bad) {
    const { options, faults } = read({ CONSUL_HTTP_ADDR: addr });
    t.equal(options.address, "http://127.0.0.1:8500", addr);
    t.match(faults, [
      { setting: "address", message: /^expected the variable CONSUL_HTTP_ADDR to be an address/ },
    ]);
    const shown = addr.replace("user:password", "...").replace("token=x", "...");
    t.match(faults[0]?.message, `got ${JSON.stringify(shown)}`, "without what is secret in it");
    t.notOk(isConsulAddress(addr));
  }
  t.same(
    read({ CONSUL_HTTP_ADDR: "ftp://x" }, { address: "http://consul:8500" }).faults,
    [],
    "and only if it counts",
  );
});

test("a token that no request can carry is a fault, and is not shown", async (t) => {
  for (const token of ["SECRET-1\n", "SECRET 1", "SECRET\u0000", "SECRET-ü"]) {
    const { faults } = read({ CONSUL_HTTP_TOKEN: token });
    t.match(faults, [
      { setting: "token", message: /^expected the variable CONSUL_HTTP_TOKEN to be a token/ },
    ]);
    t.notMatch(faults[0]?.message, /SECRET/);
  }
  t.same(read({ CONSUL_HTTP_TOKEN: "SECRET-1\n" }, { token: "b" }).faults, [], "and only if it counts");
});

test("a flag that is neither true nor false is a fault, and is left out", async (t) => {
  for (const [name, setting] of [
    ["CONSUL_HTTP_SSL", "address"],
    ["CONSUL_HTTP_SSL_VERIFY", "tls"],
  ] as const)
    for (const value of ["yes", "2", "on", "tru", "truefalse"]) {
      const { options, faults } = read({ [name]: value });
      t.same(faults, [
        { setting, message: `expected the variable ${name} to be true or false, got "${value}"` },
      ]);
      t.equal(options.address, "http://127.0.0.1:8500");
      t.equal(options.tls.verify, undefined);
    }
  t.equal(
    read({ CONSUL_HTTP_SSL: "?", CONSUL_HTTP_SSL_VERIFY: "?", CONSUL_HTTP_ADDR: "/" }).faults.length,
    3,
    "all are said",
  );
});

/** Variable, its value, where it arrives, and what a setting says instead. */
const VARIABLES: readonly [
  string,
  string,
  (options: ConsulOptions) => unknown,
  Partial<ConsulSettings>,
  unknown,
][] = [
  ["CONSUL_HTTP_ADDR", "http://theirs:1", (o) => o.address, { address: "http://ours:2" }, "http://ours:2"],
  ["CONSUL_HTTP_TOKEN", "theirs", (o) => o.token, { token: "ours" }, "ours"],
  ["CONSUL_HTTP_TOKEN_FILE", "/theirs", (o) => o.tokenFile, { tokenFile: "/ours" }, "/ours"],
  ["CONSUL_HTTP_AUTH", "user:theirs", (o) => o.basicAuth, { basicAuth: "user:ours" }, "user:ours"],
  ["CONSUL_NAMESPACE", "theirs", (o) => o.namespace, { namespace: "ours" }, "ours"],
  ["CONSUL_PARTITION", "theirs", (o) => o.partition, { partition: "ours" }, "ours"],
  ["CONSUL_CACERT", "/theirs", (o) => o.tls.caFile, { tls: { caFile: "/ours" } }, "/ours"],
  ["CONSUL_CAPATH", "/theirs", (o) => o.tls.caDirectory, { tls: { caDirectory: "/ours" } }, "/ours"],
  ["CONSUL_CLIENT_CERT", "/theirs", (o) => o.tls.certFile, { tls: { certFile: "/ours" } }, "/ours"],
  ["CONSUL_CLIENT_KEY", "/theirs", (o) => o.tls.keyFile, { tls: { keyFile: "/ours" } }, "/ours"],
  ["CONSUL_TLS_SERVER_NAME", "theirs", (o) => o.tls.serverName, { tls: { serverName: "ours" } }, "ours"],
];

test("every variable fills in what is not set, and a setting wins over it", async (t) => {
  for (const [name, value, arrives, given, ours] of VARIABLES) {
    const environment = { [name]: value };
    t.equal(arrives(read(environment).options), value, name);
    t.equal(arrives(read(environment, given).options), ours, `${name} and a setting`);
    t.equal(arrives(read({}, given).options), ours, "a setting alone");
  }
  const all = Object.fromEntries(VARIABLES.map(([name, value]) => [name, value]));
  t.same(read(all).faults, []);
});

test("whether certificates are verified: a setting, else CONSUL_HTTP_SSL_VERIFY, else it is left to the default", async (t) => {
  const verify = (environment: Environment, given?: boolean) =>
    read(environment, { tls: { verify: given } }).options.tls.verify;
  t.equal(verify({}), undefined);
  for (const no of ["false", "0", "F"]) t.equal(verify({ CONSUL_HTTP_SSL_VERIFY: no }), false, no);
  for (const yes of ["true", "1", "T"]) t.equal(verify({ CONSUL_HTTP_SSL_VERIFY: yes }), true, yes);
  t.equal(verify({ CONSUL_HTTP_SSL_VERIFY: "false" }, true), true);
  t.equal(verify({ CONSUL_HTTP_SSL_VERIFY: "true" }, false), false);
});

test("there is one token: a setting of either kind before the variables, and of those the file, as for Consul's own tools", async (t) => {
  const both = { CONSUL_HTTP_TOKEN: "theirs", CONSUL_HTTP_TOKEN_FILE: "/theirs" };
  const table: readonly [Partial<ConsulSettings>, Environment, object][] = [
    [{}, both, { token: undefined, tokenFile: "/theirs" }],
    [{ token: "ours" }, both, { token: "ours", tokenFile: undefined }],
    [{ tokenFile: "/ours" }, both, { token: undefined, tokenFile: "/ours" }],
    [{ token: "ours", tokenFile: "/ours" }, both, { token: "ours", tokenFile: "/ours" }],
    [{}, { CONSUL_HTTP_TOKEN: "theirs" }, { token: "theirs", tokenFile: undefined }],
  ];
  for (const [given, environment, expected] of table) {
    const { token, tokenFile } = read(environment, given).options;
    t.same({ token, tokenFile }, expected, JSON.stringify(given));
  }
});

test("what the environment does not know passes through as it is set", async (t) => {
  const given = { datacenter: "north", waitMs: 90_000, pollMs: 5_000 };
  t.match(read({ CONSUL_HTTP_SSL: "true" }, { ...given, address: "http://consul:8500" }).options, {
    ...given,
    address: "http://consul:8500",
  });
  t.equal(
    read({ CONSUL_HTTP_SSL: "true" }, { address: "http://consul:8500/" }).options.address,
    "http://consul:8500",
    "and a setting's scheme is meant",
  );
});
