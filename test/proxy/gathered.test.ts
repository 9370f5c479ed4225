import { test } from "tap";
import { Gathered } from "../../proxy/transparent/gathered.ts";

const HEAD = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

test("the end of a head is found wherever its bytes were split, and not before", async (t) => {
  for (let first = 1; first < HEAD.length; first++)
    for (let second = first + 1; second <= HEAD.length; second++) {
      const gathered = new Gathered();
      const ends = [];
      for (const part of [HEAD.subarray(0, first), HEAD.subarray(first, second), HEAD.subarray(second)]) {
        gathered.add(Buffer.concat([part, Buffer.from("not read")]), part.length);
        ends.push(gathered.endsHead());
      }
      t.same(ends, [false, second === HEAD.length, second < HEAD.length]);
      t.same(gathered.bytes, HEAD);
    }
});

test("nothing more is waited for behind an empty line, or a first line that is no request line", async (t) => {
  const isOver = (said: string) => {
    const gathered = new Gathered();
    gathered.add(Buffer.from(said), said.length);
    return gathered.endsHead();
  };
  for (const whole of [
    "GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/9\r\n\r\nx",
    "LIST /a\r\n",
  ])
    t.ok(isOver(whole), JSON.stringify(whole));
  for (const part of [
    "GET /",
    "GET / HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nA: b\r\n\r",
    "GET / HTTP/1.1\nA: b\n",
  ])
    t.notOk(isOver(part), JSON.stringify(part));
});

test("a head of 64 KiB byte by byte is copied a few times, and each byte is searched a few times", async (t) => {
  const gathered = new Gathered();
  const rooms = new Set<ArrayBufferLike>();
  let searched = 0;
  const { indexOf, includes } = Buffer.prototype;
  t.teardown(() => {
    Object.assign(Buffer.prototype, { indexOf, includes });
  });
  Buffer.prototype.indexOf = function (this: Buffer, ...words: Parameters<typeof indexOf>) {
    searched += this.length;
    return indexOf.apply(this, words);
  };
  Buffer.prototype.includes = function (this: Buffer, ...words: Parameters<typeof includes>) {
    searched += this.length;
    return includes.apply(this, words);
  };
  const said = Buffer.from(`GET / HTTP/1.1\r\n${"a".repeat(64 * 1024)}`);
  const all = said.length;
  for (const byte of said) {
    gathered.add(Buffer.of(byte), 1);
    rooms.add(gathered.bytes.buffer);
    gathered.endsHead();
  }
  t.equal(gathered.length, all);
  t.ok(rooms.size <= 17, `${rooms.size} rooms`);
  t.ok(searched >= all && searched <= 8 * all, `${searched} bytes have been searched`);
});
