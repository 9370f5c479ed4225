import { once } from "node:events";
import { connect } from "node:tls";
import { test } from "tap";
import { RawConnection } from "../../support/raw.ts";
import { POD, type Running, reviewOf, startWebhook } from "../../support/webhook.ts";

const JSON_TYPE = "Content-Type: application/json\r\n";

function requestOf(review: object, head = ""): string {
  const body = JSON.stringify(review);
  return `POST /inject HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}${head}Content-Length: ${body.length}\r\n\r\n${body}`;
}

async function speaking(t: { teardown(act: () => void): void }, { addresses, ca }: Running) {
  const socket = connect({ host: "127.0.0.1", port: addresses.listen.port, ca });
  t.teardown(() => socket.destroy());
  await once(socket, "secureConnect");
  return new RawConnection(socket);
}

test("requests behind each other in one packet get their own answers in their order, and too many get none", async (t) => {
  const running = await startWebhook(t);
  const reviews = Array.from({ length: 15 }, () => reviewOf(POD));
  const few = await speaking(t, running);
  few.send(`${reviews.map((review) => requestOf(review)).join("")}GET /x HTTP/1.1\r\nHost: a\r\n\r\n`);
  const text = await few.until(/expected the path/);
  t.same(
    [...text.matchAll(/"uid":"([^"]+)"/g)].map(([, uid]) => uid),
    reviews.map(({ request }) => request.uid),
  );
  t.ok(text.lastIndexOf("HTTP/1.1 404") > text.lastIndexOf("HTTP/1.1 200"));
  // And again on the same connection, as all have been answered.
  few.take();
  few.send(requestOf(reviews[0]!).repeat(16));
  await few.until((received) => received.split("HTTP/1.1 200").length === 17);
  const many = await speaking(t, running);
  many.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000));
  t.equal(await many.untilEnd(), "");
  t.match((await running.shown("/metrics")).text, "heddle_webhook_crowded_out_total 1\n");
  t.equal((await running.api.send(JSON.stringify(reviews[0]))).status, 200, "and it goes on");
});

test("what two readers could take for two things is refused, and the connection with it", async (t) => {
  const running = await startWebhook(t);
  const begin = `POST /inject HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}`;
  for (const text of [
    `${begin}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${begin}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
    `${begin}Content-Length: 2,2\r\n\r\n{}`,
    `${begin}Content-Length: +2\r\n\r\n{}`,
    `${begin}Content-Length : 2\r\n\r\n{}`,
    `${begin}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `${begin}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    `${begin}X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}`,
    "POST /inject HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}",
    `POST /inject HTTP/1.1\r\n${JSON_TYPE}Content-Length: 2\r\n\r\n{}`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ]) {
    const raw = await speaking(t, running);
    raw.send(text);
    t.match(await raw.untilEnd(), /^HTTP\/1\.1 400 Bad Request\r\n(?![\s\S]*HTTP\/1\.1 )/, text);
  }
  for (const text of [
    `${begin}X: ${"x".repeat(20_000)}\r\n\r\n`,
    `${begin}${Array.from({ length: 3_000 }, (_, i) => `a${i}: b\r\n`).join("")}\r\n`,
  ]) {
    const raw = await speaking(t, running);
    raw.send(text);
    t.match(await raw.untilEnd(), /^HTTP\/1\.1 431 /);
  }
  t.equal((await running.api.send(JSON.stringify(reviewOf(POD)))).status, 200, "and it goes on");
});

test("what is unusual and clear is answered: HTTP/1.0, chunks with trailers, an upgrade that is not heeded", async (t) => {
  const running = await startWebhook(t);
  const review = reviewOf(POD);
  const body = JSON.stringify(review);
  const chunked = `POST /inject HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n${body.slice(0, 5)}\r\n${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n0\r\nX: y\r\n\r\n`;
  for (const text of [
    `POST /inject HTTP/1.0\r\n${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body}`,
    chunked,
    requestOf(review, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
    requestOf(JSON.parse(body.replace('"spec"', '"__proto__":{"x":1},"constructor":1,"spec"'))),
  ]) {
    const raw = await speaking(t, running);
    raw.send(text);
    t.match(
      await raw.until(/\}\}$/),
      /^HTTP\/1\.1 200 OK\r\n[\s\S]*"patchType":"JSONPatch"/,
      text.slice(0, 200),
    );
  }
  const tunnel = await speaking(t, running);
  tunnel.send("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
  t.equal(await tunnel.untilEnd(), "");
});
