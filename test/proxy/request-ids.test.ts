/**
 * Promises about request ids: unique, a UUID in form, and made by counting.
 */
import { test } from "tap";
import { requestIds } from "../../proxy/request-ids.ts";

const VERSION_8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("ids have the form of a UUID of version 8, whatever the process has drawn", async (t) => {
  for (const byte of [0x00, 0x0f, 0x7f, 0x80, 0xf0, 0xff]) {
    const next = requestIds(new Uint8Array(16).fill(byte));
    for (let i = 0; i < 5000; i += 1) {
      const id = next();
      if (!VERSION_8.test(id)) t.fail(`${id} of ${byte}`);
    }
  }
  t.pass("30,000 ids");
});

test("no id comes twice, also where the counter's lower part runs over and where all of it does", async (t) => {
  const next = requestIds(new Uint8Array(16).fill(0xff));
  const ids = new Set(Array.from({ length: 20_000 }, next));
  t.equal(ids.size, 20_000);
});

test("two processes that have drawn differently never make the same id", async (t) => {
  const first = requestIds(Uint8Array.from({ length: 16 }, (_, i) => i));
  const second = requestIds(Uint8Array.from({ length: 16 }, (_, i) => i + 1));
  const ids = new Set([...Array.from({ length: 5000 }, first), ...Array.from({ length: 5000 }, second)]);
  t.equal(ids.size, 10_000);
});
