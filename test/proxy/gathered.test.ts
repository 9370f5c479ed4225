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

test("a head of 64 KiB byte by byte is copied a few times, and each byte is searched a few times", async (t) => {
  const gathered = new Gathered();
  const rooms = new Set<ArrayBufferLike>();
  let searched = 0;
  const { includes } = Buffer.prototype;
  t.teardown(() => {
    Buffer.prototype.includes = includes;
  });
  Buffer.prototype.includes = function (this: Buffer, ...words: Parameters<typeof includes>) {
    searched += this.length;
    return includes.apply(this, words);
  };
  const all = 64 * 1024;
  for (let i = 0; i < all; i++) {
    gathered.add(Buffer.of(97), 1);
    rooms.add(gathered.bytes.buffer);
    gathered.endsHead();
  }
  t.equal(gathered.length, all);
  t.ok(rooms.size <= 17, `${rooms.size} rooms`);
  t.ok(searched >= all && searched <= 4 * all, `${searched} bytes have been searched`);
});
