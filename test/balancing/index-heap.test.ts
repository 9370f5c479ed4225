import fc from "fast-check";
import { test } from "tap";
import { IndexHeap } from "../../balancing/index-heap.ts";

test("numbers come out by key, those of the same key by themselves, however pushes and pops are mixed", async () => {
  const keys = fc.array(fc.nat(9), { minLength: 1, maxLength: 60 });
  const numbers = keys.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray([...list.keys()], { minLength: list.length })),
  );
  fc.assert(
    fc.property(numbers, fc.infiniteStream(fc.boolean()), ([list, order], pops) => {
      const heap = new IndexHeap(Float64Array.from(list));
      const inside: number[] = [];
      const leavesInOrder = () => {
        inside.sort((a, b) => list[a]! - list[b]! || a - b);
        const least = inside.shift();
        return heap.top === least && heap.pop() === least && heap.size === inside.length;
      };
      for (const i of order) {
        heap.push(i);
        inside.push(i);
        if (pops.next().value && !leavesInOrder()) return false;
      }
      while (inside.length > 0) if (!leavesInOrder()) return false;
      return heap.size === 0;
    }),
  );
});
