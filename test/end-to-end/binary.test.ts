/**
 * The single executable does what heddle does, on a machine that has no Node. It is built anew, which takes some seconds.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { type Executable, makeExecutable } from "../../build/binary/executable.ts";
import { thirdPartyNotices } from "../../build/binary/third-party.ts";
import { sbomOf } from "../../build/sbom/sbom.ts";
import { call, say, startApp } from "../support/apps.ts";
import { startSidecar } from "../support/sidecar.ts";
import { connected, echo, message, webSocketEndpoint } from "../support/web-sockets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const skip = process.platform === "linux" ? false : "the executable is built and tried on Linux";

test("the single executable", { skip }, async (t) => {
  const heddle = join(t.testdir(), "heddle");
  const made: Executable = await makeExecutable(ROOT, heddle);

  /** Nothing on PATH, and nothing else in the environment that it could find a Node by: by env, as tap adds options for Node. */
  const alone = ["/usr/bin/env", "-i", "PATH="] as const;
  const run = (words: readonly string[], ...environment: string[]) => {
    const [env, ...first] = alone;
    const { status, stdout, stderr } = spawnSync(env, [...first, ...environment, heddle, ...words], {
      cwd: "/",
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };

  t.test("says its version with no file beside it, and no warning: V8 takes the code it kept", async (t) => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    t.same(run(["--version"]), { status: 0, stdout: `heddle ${version}\n`, stderr: "" });
    t.ok(statSync(heddle).size < 160 * 2 ** 20, "it is not larger than Node and a little");
  });

  t.test("checks a configuration", async (t) => {
    const file = join(ROOT, "examples/static.yaml");
    t.same(run(["check", file]), { status: 0, stdout: `${file}: fine\n`, stderr: "" });
    const faulty = t.testdir({ "heddle.yaml": "upstream: {}\n" });
    const { status, stderr, stdout } = run(["check", join(faulty, "heddle.yaml")]);
    t.equal(status, 1);
    t.match(stdout + stderr, /heddle\.yaml:1:1/);
  });

  t.test("brings up the demo, whose sidecars are the same executable", async (t) => {
    const { status, stdout } = run(["demo", "--seconds", "3"], `TMPDIR=${t.testdir()}`);
    t.equal(status, 0);
    t.match(stdout, /curl http:\/\/127\.0\.0\.1:\d+\/ /, "the mesh is up");
    t.match(stdout, /ending\.\.\./);
  });

  t.test(
    "carries requests in two workers, and tunnels with http-proxy, loaded with the first one",
    async (t) => {
      const app = await startApp(t, say("fine\n"));
      const socket = await webSocketEndpoint(t, echo);
      const sidecar = await startSidecar(
        t,
        {
          workers: 2,
          upstreams: {
            orders: { endpoints: [app.address] },
            chat: { endpoints: [socket.address], upgrades: ["websocket"] },
          },
        },
        { program: [...alone, heddle] },
      );
      const { port } = sidecar.addresses.outbound;
      for (let i = 0; i < 20; i++) t.match(await call(port, "orders"), { status: 200, body: "fine\n" });
      t.equal(await sidecar.admin.metric("heddle_requests_total", { status: "200" }), 20);
      const client = await connected(t, port, { headers: { host: "chat" } });
      client.send("through the tunnel");
      t.equal(String(await message(client)), "through the tunnel");
      client.close();
      t.equal(await sidecar.end(), 0, "and drains");
    },
  );

  t.test("asks Consul with the package of that name, loaded with the first question", async (t) => {
    const sidecar = await startSidecar(
      t,
      {
        discovery: { consul: { address: "http://127.0.0.1:1" } },
        upstreams: { orders: { follow: "always" } },
      },
      { program: [...alone, heddle] },
    );
    const { why } = await sidecar.until(({ msg }) => msg === "the registry does not answer");
    t.match(why, "ECONNREFUSED");
    t.equal(await sidecar.end(), 0);
  });

  t.test("tells a fault in the files and lines of the sources", async (t) => {
    const fault = join(
      t.testdir({ "fault.cjs": "process.stdout.write = () => { throw new Error('no room'); };" }),
      "fault.cjs",
    );
    const { status, stderr } = run(["--version"], `NODE_OPTIONS=--require=${fault}`);
    t.equal(status, 1);
    const line = readFileSync(join(ROOT, "cli/main.ts"), "utf8")
      .split("\n")
      .findIndex((text) => text.includes("process.stdout.write(text)"));
    t.match(stderr, new RegExp(`Error: no room\\n(.*\\n)* +at print \\(.*cli/main\\.ts:${line + 1}:18\\)`));
  });

  t.test("holds what the bill of materials lists, and each licence", async (t) => {
    const listed = new Set(sbomOf(ROOT).components.map(({ name }) => name));
    t.ok(made.packages.length > 15, "the packages are in it");
    const notices = thirdPartyNotices(ROOT, made.packages);
    for (const folder of made.packages) {
      const name = folder.replace("node_modules/", "");
      t.ok(listed.has(name), `${name} is listed`);
      t.match(notices, `\n${name} `, `${name} has its licence told`);
    }
    t.match(notices, `\nNode.js ${process.versions.node}, `);
    t.notOk(existsSync(join(heddle, "../parts/node")), "what it was made of does not fill the disk");
  });

  t.test("has the flags of V8 that bin/heddle.js sets", async (t) => {
    const { execArgv } = JSON.parse(readFileSync(join(heddle, "../parts/executable.json"), "utf8"));
    const starter = readFileSync(join(ROOT, "bin/heddle.js"), "utf8");
    t.same(
      new Set(execArgv),
      new Set(
        [...starter.matchAll(/(?<=")--(?:max-semi-space-size=\d+|no-[a-z-]+)(?=")/g)].map(([flag]) => flag),
      ),
    );
  });
});
