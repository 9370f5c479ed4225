import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { test } from "tap";
import { Webhook } from "../../../kubernetes/index.ts";
import { systemClock } from "../../../proxy/index.ts";
import type { Teardown } from "../../support/apps.ts";
import { selfSigned } from "../../support/kubernetes-api.ts";
import { ApiServer, folderFor, POD, POLICY, reviewOf } from "../../support/webhook.ts";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

function pairFor(t: Teardown): Pair {
  const pair = selfSigned(folderFor(t));
  if (pair === undefined) throw new Error("expected openssl");
  return pair;
}

/** A folder as the kubelet mounts a Secret: the files are links through `..data`, which is swapped. */
class SecretMount {
  readonly folder: string;
  #versions = 0;

  constructor(t: Teardown, pair: Pair) {
    this.folder = folderFor(t);
    this.update(pair);
    for (const name of ["tls.crt", "tls.key"]) symlinkSync(join("..data", name), join(this.folder, name));
  }

  update({ cert, key }: Pair): void {
    const version = `..2026_${++this.#versions}`;
    mkdirSync(join(this.folder, version));
    writeFileSync(join(this.folder, version, "tls.crt"), cert);
    writeFileSync(join(this.folder, version, "tls.key"), key);
    symlinkSync(version, join(this.folder, "..data_tmp"));
    renameSync(join(this.folder, "..data_tmp"), join(this.folder, "..data"));
    if (this.#versions > 1) rmSync(join(this.folder, `..2026_${this.#versions - 1}`), { recursive: true });
  }
}

async function webhookOn(t: Teardown, folder: string) {
  const records: string[] = [];
  let wake = Promise.withResolvers<void>();
  const say = (_: object, message: string) => {
    records.push(message);
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const free = { host: "127.0.0.1", port: 0 };
  const files = { certificate: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  const webhook = new Webhook(
    { policy: POLICY, listen: free, health: free, ...files, lingerMs: 0 },
    systemClock,
    { debug: say, info: say, warn: say, error: say },
  );
  t.teardown(() => webhook.destroy());
  const { listen, health } = await webhook.start();
  return {
    port: listen.port,
    /** Resolves when it has been said this many times. */
    async said(message: RegExp, times = 1): Promise<void> {
      while (records.filter((record) => message.test(record)).length < times) await wake.promise;
    },
    metrics: async () => (await fetch(`http://127.0.0.1:${health.port}/metrics`)).text(),
  };
}

/** The fingerprint of what a new connection is shown. */
function shownAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
    socket.on("error", reject).on("secureConnect", () => {
      resolve((socket.getPeerCertificate() as PeerCertificate).raw.toString("base64"));
      socket.destroy();
    });
  });
}

const derOf = ({ cert }: Pair) => cert.replace(/-----[^-]+-----|\s/g, "");

test("a Secret that is swapped while reviews run is used for new connections, and no review is lost", async (t) => {
  const [first, second] = [pairFor(t), pairFor(t)];
  const mount = new SecretMount(t, first);
  const webhook = await webhookOn(t, mount.folder);
  t.equal(await shownAt(webhook.port), derOf(first));
  const both = `${first.cert}${second.cert}`;
  const keeping = new ApiServer(t, webhook.port, both);
  const always = new ApiServer(t, webhook.port, both, { keepAlive: false });
  let swapped = false;
  let answered = 0;
  const callers = [keeping, keeping, always, always].map(async (api) => {
    // On for a while behind the swap.
    for (let left = 10; left > 0; left -= swapped ? 1 : 0) {
      const { allowed } = await api.review(reviewOf(POD));
      if (allowed) answered++;
    }
  });
  mount.update(second);
  await webhook.said(/new certificate is used/);
  swapped = true;
  await Promise.all(callers);
  t.ok(answered >= 40, `${answered}`);
  t.equal(await shownAt(webhook.port), derOf(second));
  t.match(await webhook.metrics(), 'certificate_loads_total{outcome="used"} 2\n');
});

test("a certificate that is broken, or not that of its key, leaves the old one in use until there is a good one", async (t) => {
  const [first, second] = [pairFor(t), pairFor(t)];
  const mount = new SecretMount(t, first);
  const webhook = await webhookOn(t, mount.folder);
  const broken: readonly Pair[] = [
    { cert: "nonsense", key: second.key },
    { cert: second.cert, key: "nonsense" },
    { cert: second.cert, key: first.key },
    { cert: "", key: "" },
  ];
  for (const [i, pair] of broken.entries()) {
    mount.update(pair);
    await webhook.said(/cannot be used; the old one stays/, i + 1);
    t.equal(await shownAt(webhook.port), derOf(first));
  }
  mount.update(second);
  await webhook.said(/new certificate is used/);
  t.equal(await shownAt(webhook.port), derOf(second));
  t.match(await webhook.metrics(), 'certificate_loads_total{outcome="refused"} 4\n');
});

test("plain files that are written one after the other are used when both are there", async (t) => {
  const [first, second] = [pairFor(t), pairFor(t)];
  const folder = folderFor(t);
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("tls.crt", first.cert);
  write("tls.key", first.key);
  const webhook = await webhookOn(t, folder);
  write("tls.crt", second.cert);
  await webhook.said(/old one stays/);
  write("tls.key", second.key);
  await webhook.said(/new certificate is used/);
  t.equal(await shownAt(webhook.port), derOf(second));
});

test("without a usable certificate it does not start, and says which file is at fault", async (t) => {
  const [first, second] = [pairFor(t), pairFor(t)];
  const folder = folderFor(t);
  const start = () => webhookOn(t, folder);
  await t.rejects(start(), { code: "ENOENT" });
  writeFileSync(join(folder, "tls.crt"), first.cert);
  writeFileSync(join(folder, "tls.key"), second.key);
  await t.rejects(start(), {
    message: /expected the key of the certificate in .*tls\.crt, got another one in/,
  });
  writeFileSync(join(folder, "tls.crt"), "x");
  await t.rejects(start(), { message: /expected a certificate in PEM in .*tls\.crt: / });
  t.equal(readFileSync(join(folder, "tls.crt"), "utf8"), "x");
});
