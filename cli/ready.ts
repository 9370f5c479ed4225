/**
 * `heddle ready`: asks a running sidecar's admin port whether traffic may come. For health checks in places that
 * have no curl, and with `--within` for hooks that hold an app back until it has a sidecar.
 */
import { parseDuration } from "../config/index.ts";
import { adminUrl } from "./admin-url.ts";
import { type Arguments, UsageError } from "./command.ts";
import { pause } from "./pause.ts";

const ANSWER_MS = 1_500;
const ASK_AGAIN_MS = 200;

/** @returns 0 when it is ready, 1 when it is not or does not answer, and is not within the time */
export async function ready({ options }: Arguments): Promise<number> {
  const url = adminUrl(options["admin"], "/ready");
  const within = options["within"];
  const withinMs = within === undefined ? 0 : parseDuration(String(within));
  if (withinMs === undefined)
    throw new UsageError(`--within: expected a duration such as 60s, got ${JSON.stringify(within)}`);
  const over = AbortSignal.timeout(withinMs);
  for (;;) {
    const said = await ask(url);
    if (said.ready || withinMs === 0 || over.aborted) {
      (said.answered ? process.stdout : process.stderr).write(said.text);
      return said.ready ? 0 : 1;
    }
    await pause(ASK_AGAIN_MS);
  }
}

interface Said {
  readonly ready: boolean;
  readonly answered: boolean;
  readonly text: string;
}

async function ask(url: URL): Promise<Said> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    return { ready: answer.ok, answered: true, text: await answer.text() };
  } catch (thrown) {
    const text = `heddle: no answer from ${url.host}: ${(thrown as Error).message}\n`;
    return { ready: false, answered: false, text };
  }
}
