/**
 * How much of V8's heap is alive, by Node's inspector: the one figure of memory that garbage and the allocator's habits are not in.
 *
 * Everything is collected first, so it is asked only in quiet, before and after.
 */
import { once } from "node:events";

/** Of the heap, and of what it holds outside, such as buffers. */
export interface LiveBytes {
  readonly heap: number;
  readonly external: number;
}

/** @param address of the inspector, as `ws://…` */
export async function liveBytes(address: string): Promise<LiveBytes> {
  const socket = new WebSocket(address);
  await once(socket, "open");
  let asked = 0;
  const ask = async (method: string, params: object = {}) => {
    const id = ++asked;
    const answer = new Promise<Record<string, unknown>>((resolve) => {
      const look = ({ data }: MessageEvent) => {
        const message = JSON.parse(String(data)) as { id?: number; result?: Record<string, unknown> };
        if (message.id !== id) return;
        socket.removeEventListener("message", look);
        resolve(message.result ?? {});
      };
      socket.addEventListener("message", look);
    });
    socket.send(JSON.stringify({ id, method, params }));
    return answer;
  };
  try {
    // Twice: what the first one finalizes, the second one collects.
    await ask("HeapProfiler.collectGarbage");
    await ask("HeapProfiler.collectGarbage");
    const expression = "JSON.stringify(process.memoryUsage())";
    const { result } = await ask("Runtime.evaluate", { expression });
    const { heapUsed, external } = JSON.parse((result as { value: string }).value) as Record<string, number>;
    return { heap: heapUsed!, external: external! };
  } finally {
    const closed = once(socket, "close");
    socket.close();
    await closed;
  }
}
