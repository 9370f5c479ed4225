import { type Test, test } from "tap";
import { RedirectFault, readRules, upScript } from "../../kubernetes/index.ts";
import { APP_UID, answersHttp, type Pod, startPeer, startPod, withoutPods } from "../support/pod.ts";

const GET = "GET / HTTP/1.1~Host: orders~Connection: close~~";

for (const backend of ["nft", "iptables"] as const)
  test(`ports and networks can be left out or be all there is, by ${backend}`, {
    skip: withoutPods,
  }, async (t) => {
    const pod = await startPod(t);
    const orders = await startPeer(t, answersHttp("orders!"));
    await pod.sidecar({
      outbound: { mode: "transparent" },
      upstreams: { orders: { endpoints: [`${pod.v4.host}:${orders.port}`] } },
    });
    const passes = async (words: readonly string[]) => {
      pod.redirect("up", "--with", backend, ...words);
      const before = await pod.metric("heddle_intercepted_total");
      for (const family of ["v4", "v6"] as const)
        t.match(await pod.speak(pod[family].host, orders.port, GET), /orders!$/, words.join(" "));
      return (await pod.metric("heddle_intercepted_total")) === before;
    };
    const { port } = orders;
    const others = port < 40_000 ? "40000-50000" : "1-30000";
    t.notOk(await passes([]));
    t.ok(await passes(["--exclude-outbound-ports", `22,${port - 1}-${port + 1},${port}`]));
    t.ok(await passes(["--include-outbound-ports", others]));
    t.ok(await passes(["--include-outbound-ports", ""]), "no port at all");
    t.notOk(await passes(["--include-outbound-ports", `${others},${port}`]));
    t.ok(await passes(["--exclude-outbound-cidrs", "198.18.0.0/15,198.18.0.0/16,fd00::/8"]));
    t.ok(await passes(["--include-outbound-cidrs", "10.0.0.0/8,2001:db8::/32"]));
    t.notOk(await passes(["--include-outbound-cidrs", "198.18.0.0/15,fd00::/8"]));
    t.ok(await passes(["--uid", String(APP_UID)]));
    t.ok(await passes(["--gid", String(APP_UID)]));
  });

/** Once they have had a rule, the chains of iptables itself stay, empty. */
async function startUsedPod(t: Test): Promise<Pod> {
  const pod = await startPod(t);
  for (const tool of ["iptables", "ip6tables"])
    for (const rule of ["OUTPUT -j RETURN", "PREROUTING -j RETURN"])
      for (const how of ["-A", "-D"])
        await pod.run(0, "sh", "-c", `PATH=$PATH:/usr/sbin:/sbin ${tool} -t nat ${how} ${rule}`);
  return pod;
}

test("a change of tools replaces what the other one had set, both ways", { skip: withoutPods }, async (t) => {
  const pod = await startUsedPod(t);
  const alone = (backend: string) => {
    pod.redirect("down");
    pod.redirect("up", "--with", backend);
    return pod.rules();
  };
  const only = { nft: alone("nft"), iptables: alone("iptables") };
  pod.redirect("up", "--with", "nft", "--exclude-outbound-ports", "22");
  pod.redirect("up", "--with", "nft");
  t.equal(pod.rules(), only.nft);
  pod.redirect("up", "--with", "iptables");
  t.equal(pod.rules(), only.iptables);
});

test("where iptables fails half way, what was there before is there still, be it nothing, its own rules or those of nft", {
  skip: withoutPods,
}, async (t) => {
  const pod = await startUsedPod(t);
  const ways = [
    ["down"],
    ["up", "--with", "iptables", "--exclude-outbound-ports", "22"],
    ["up", "--with", "nft"],
  ];
  for (const before of ways) {
    pod.redirect(...before);
    const rules = pod.rules();
    for (const tool of ["iptables-restore", "ip6tables-restore", "ip6tables-save"]) {
      const mend = pod.breakTool(tool);
      const refused = () => pod.redirect("up", "--with", "iptables", "--inbound-port", "7");
      t.throws(refused, { message: /the rules could not be set\n(.*\n)*broken/ } as never, tool);
      mend();
      t.equal(pod.rules(), rules, `${before.join(" ")}, then without ${tool}`);
    }
  }
  pod.redirect("up", "--with", "iptables", "--exclude-outbound-ports", "22");
  const rules = pod.rules();
  t.throws(() => pod.redirect("up", "--with", "nft", "--inbound-port", "99999"));
  t.equal(pod.rules(), rules);
});

test("what one tool cannot take away does not keep the other from it, and is told of", {
  skip: withoutPods,
}, async (t) => {
  const pod = await startUsedPod(t);
  const before = pod.rules();
  pod.redirect("up", "--with", "iptables");
  const mend = pod.breakTool("nft");
  t.throws(() => pod.redirect("down"), { message: /broken/ } as never);
  mend();
  t.equal(pod.rules(), before);
});

test("rules are set twice as once, and taken away without a trace", { skip: withoutPods }, async (t) => {
  const pod = await startUsedPod(t);
  const before = pod.rules();
  for (const backend of ["nft", "iptables"]) {
    pod.redirect("down", "--with", backend);
    t.equal(pod.rules(), before, "there is nothing to take away");
    pod.redirect("up", "--with", backend, "--exclude-outbound-ports", "22");
    const once = pod.rules();
    t.not(once, before);
    pod.redirect("up", "--with", backend, "--exclude-outbound-ports", "22");
    t.equal(pod.rules(), once, backend);
    pod.redirect("up", "--with", backend, "--exclude-outbound-ports", "22", "--ipv4-only");
    const v4Only = pod.rules();
    t.not(v4Only, once);
    pod.redirect("down");
    t.equal(pod.rules(), before, backend);
    pod.redirect("up", "--with", backend, "--exclude-outbound-ports", "22", "--ipv4-only");
    t.equal(pod.rules(), v4Only, `what ${backend} had set for IPv6 was replaced by nothing`);
    pod.redirect("down");
  }
});

test("what is no number, range or address gets into no script, and is named", async (t) => {
  const refused: readonly (readonly [Parameters<typeof readRules>[0], RegExp])[] = [
    [{ uid: "app" }, /^--uid: expected the number of a user or group, got "app"$/],
    [{ uid: "" }, /^--uid: expected the number of the user that the sidecar runs as, got ""$/],
    [{ gid: "-1" }, /^--gid/],
    [{ uid: "4294967295" }, /^--uid/],
    [{ excludeUids: "0,1 2" }, /^--exclude-uids: .* got "1 2"$/],
    [{ outboundPort: "0" }, /^--outbound-port: expected a port from 1 to 65535, got "0"$/],
    [{ inboundPort: "65536" }, /^--inbound-port/],
    [{ includeOutboundPorts: "80-" }, /^--include-outbound-ports: expected ports such as 22 or 8000-8100/],
    [{ excludeOutboundPorts: "90-80" }, /^--exclude-outbound-ports/],
    [{ includeInboundPorts: "1-2-3" }, /^--include-inbound-ports/],
    [{ excludeInboundPorts: "22\nRULES\nreboot" }, /^--exclude-inbound-ports/],
    [
      { excludeCidrs: "10.0.0.0/33" },
      /^--exclude-outbound-cidrs: expected addresses such as 10.0.0.0\/8 or fd00::\/8/,
    ],
    [{ excludeCidrs: "10.0.0" }, /^--exclude-outbound-cidrs/],
    [{ includeCidrs: "fe80::1%eth0" }, /^--include-outbound-cidrs/],
    [{ includeCidrs: "$(reboot)" }, /^--include-outbound-cidrs/],
  ];
  for (const [given, says] of refused)
    t.throws(() => readRules(given), { constructor: RedirectFault, message: says } as never, `${says}`);
});

test("the script is what is meant: the sidecar's own user, its ports, and what is left out", async (t) => {
  const rules = readRules(
    { excludeUids: "0, 1337,5", excludeOutboundPorts: "22,8000-8100", ipv4Only: true },
    [15000],
  );
  t.same(rules.uids, [1337, 0, 5]);
  const nft = upScript("nft", rules);
  t.match(nft, /meta skuid \{ 1337, 0, 5 \} return/);
  t.match(nft, /chain outbound \{[^}]*meta nfproto ipv6 return/);
  t.match(nft, /tcp dport \{ 15000, 15006 \} return/);
  const iptables = upScript("iptables", rules);
  t.notMatch(iptables, /ip6tables.* (-A|-C)|ip6tables-restore/);
  t.match(iptables, /-A HEDDLE_OUTBOUND -p tcp --dport 8000:8100 -j RETURN\n/);
  // Traffic meets all of the rules or none.
  const [all = ""] =
    /\{ cat <<'RULES'\n\*nat\n[^{}]*\} \| iptables-restore -w --noflush\n/.exec(iptables) ?? [];
  for (const part of ["-A HEDDLE_OUTBOUND", "-A HEDDLE_INBOUND", "'-A OUTPUT", "'-A PREROUTING"])
    t.ok(all.includes(part), part);
});
