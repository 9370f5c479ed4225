/**
 * `heddle ready`: asks a running sidecar's admin port whether traffic may come. For health checks in places that
 * have no curl.
 */
import { type Arguments, UsageError } from "./command.ts";

const ANSWER_MS = 1_500;

/** @returns 0 when it is ready, 1 when it is not or does not answer */
export async function ready({ options }: Arguments): Promise<number> {
  const admin = String(options["admin"]);
  const url = URL.parse(`http://${admin}/ready`);
  if (url === null || url.host !== admin)
    throw new UsageError(
      `--admin: expected an address such as 127.0.0.1:15000, got ${JSON.stringify(admin)}`,
    );
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    process.stdout.write(await answer.text());
    return answer.ok ? 0 : 1;
  } catch (thrown) {
    process.stderr.write(`heddle: no answer from ${admin}: ${(thrown as Error).message}\n`);
    return 1;
  }
}
